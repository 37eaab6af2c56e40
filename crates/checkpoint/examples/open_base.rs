//! A base model, whatever files it is in.
#![expect(clippy::print_stdout, reason = "an example shows what it found")]

// ANCHOR: readme
use std::error::Error;

use checkpoint::Base;
use nn_core::Dtype;
use tch::Device;

fn main() -> Result<(), Box<dyn Error>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../datasets/tiny-llama");
    let base = Base::open(path)?; // or params.json and shards, a .gguf file, a name on the hub
    println!("{} parameters", base.config.num_parameters());
    println!("{} tokens", base.tokenizer()?.vocab_size());
    let model = base.load(Device::Cpu, Dtype::Auto)?;
    println!("loaded in {:?}", model.kind());
    Ok(())
}
// ANCHOR_END: readme
