//! A text to token ids and back.
#![expect(clippy::print_stdout, reason = "an example shows what it found")]

// ANCHOR: readme
use std::error::Error;
use std::path::Path;

use llama_tokenizer::{LlamaTokenizer, check_special_ids};

fn main() -> Result<(), Box<dyn Error>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/tiny-llama");
    let tokenizer = LlamaTokenizer::from_dir(&dir)?;
    let ids = tokenizer.encode("Abel is known as a cat.", true)?;
    let tokens: Vec<String> = ids.iter().filter_map(|&id| tokenizer.token(id)).collect();
    println!("{ids:?}\n{tokens:?}\n{}", tokenizer.decode(&ids, true)?);

    // Early conversions of LLaMA state ids 0 and 0 in config.json.
    for problem in check_special_ids(&tokenizer, Some(0), &[0], None) {
        println!("{problem}");
    }
    Ok(())
}
// ANCHOR_END: readme
