//! The embedded model's weights, its logits, and a token that follows from them.
#![expect(clippy::print_stdout, reason = "an example shows what it found")]

// ANCHOR: readme
use std::error::Error;
use std::path::Path;

use llama_model::{Llama, LlamaConfig};
use nn_core::{Mode, TokenBatch};
use tch::{Device, Kind};
use weights::{CheckpointSource, TensorStore};

fn main() -> Result<(), Box<dyn Error>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/tiny-llama");
    let config = LlamaConfig::from_dir(&dir)?;
    println!("{} layers, {} parameters", config.num_hidden_layers, config.num_parameters());

    let store = TensorStore::open(&dir)?;
    let source = CheckpointSource::new(&store, Device::Cpu, Some(Kind::Float));
    let model = Llama::load(&config, &source)?;
    let ids = [1, 300, 301]; // BOS and two tokens
    let batch = TokenBatch::from_sequences([(ids.as_slice(), ids.as_slice())]);
    let hidden = tch::no_grad(|| model.hidden_states(&batch, Mode::Eval))?; // [3, C]
    let logits = tch::no_grad(|| model.logits(&hidden))?; // [3, V]
    println!("most probable next token: {}", logits.get(2).argmax(0, false).int64_value(&[]));
    Ok(())
}
// ANCHOR_END: readme
