//! A base model, whatever its form, written in another.
#![expect(clippy::print_stdout, reason = "an example shows what it found")]

// ANCHOR: readme
use std::error::Error;

use checkpoint::{Base, Gguf};

fn main() -> Result<(), Box<dyn Error>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../datasets/tiny-llama");
    let base = Base::open(path)?; // or params.json and shards, a .gguf file, a name on the hub
    println!("{} parameters", base.config.num_parameters());
    println!("{} tokens", base.tokenizer()?.vocab_size());

    let parent = tempfile::tempdir()?;
    let out = parent.path().join("as-gguf");
    base.merge(&[], &Gguf, &out)?; // with `AdapterDir::new("lora-alpaca")` in the list, the merged model
    let written = Base::open(&out.to_string_lossy())?;
    println!("{} parameters in {}", written.config.num_parameters(), written.dir.display());
    Ok(())
}
// ANCHOR_END: readme
