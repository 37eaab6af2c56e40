//! Records of a file as the batches of one epoch.
#![expect(clippy::print_stdout, reason = "an example shows what it found")]

// ANCHOR: readme
use std::error::Error;
use std::path::Path;

use alpaca_data::{
    BadRecords, EpochOrder, PromptTemplate, TokenizeConfig, batch, load_records, tokenize_records,
};
use llama_tokenizer::LlamaTokenizer;

fn main() -> Result<(), Box<dyn Error>> {
    let datasets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets");
    let records = load_records(&datasets.join("mini_data.json"), BadRecords::Refuse)?.records;
    let template = PromptTemplate::load("alpaca")?;
    let tokenizer = LlamaTokenizer::from_dir(&datasets.join("tiny-llama"))?;
    let config = TokenizeConfig { train_on_inputs: false, ..TokenizeConfig::default() };
    let (examples, report) = tokenize_records(&records, &template, &tokenizer, &config)?;
    println!("{report}");

    let lengths: Vec<usize> = examples.iter().map(|example| example.input_ids.len()).collect();
    let order = EpochOrder { seed: 42, group_by_length: false, batch_size: 16 }.epoch(0, &lengths);
    for indices in order.chunks(16) {
        let batch = batch(&examples, indices);
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
