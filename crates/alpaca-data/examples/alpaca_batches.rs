//! Records of a file as the batches of one epoch.
#![expect(clippy::print_stdout, reason = "an example shows what it found")]

// ANCHOR: readme
use std::error::Error;
use std::path::Path;

use alpaca_data::{BadRecords, PromptTemplate, Templates, TokenizeConfig, load_training_texts, tokenize};
use llama_tokenizer::LlamaTokenizer;
use nn_core::Dataset;

fn main() -> Result<(), Box<dyn Error>> {
    let datasets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets");
    let templates = Templates { prompt: PromptTemplate::load("alpaca")?, chat: None };
    let texts =
        load_training_texts(&datasets.join("mini_data.json"), BadRecords::Refuse, &templates)?.records;
    let tokenizer = LlamaTokenizer::from_dir(&datasets.join("tiny-llama"))?;
    let config = TokenizeConfig { train_on_inputs: false, ..TokenizeConfig::default() };
    let (examples, report) = tokenize(&texts, &tokenizer, &config)?;
    println!("{report}");

    for indices in examples.epoch_order(0, 42).chunks(16) {
        let batch = examples.batch(indices);
        println!(
            "{} sequences, {} tokens, {} targets",
            indices.len(),
            batch.num_tokens(),
            batch.num_targets()
        );
    }
    Ok(())
}
// ANCHOR_END: readme
