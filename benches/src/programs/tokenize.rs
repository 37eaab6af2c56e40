//! `bench-tokenize`: a file of records to token ids.

use std::path::PathBuf;
use std::time::Instant;

use alpaca_data::{BadRecords, PromptTemplate, TokenizeConfig, load_records, tokenize_records};
use anyhow::Result;
use checkpoint::Base;
use clap::Parser;
use llama_finetune::set_threads;
use terminal::print;

/// Time the tokenising of a file of records.
#[derive(Debug, Parser)]
#[command(name = "bench-tokenize", version)]
pub struct TokenizeArgs {
    #[arg(long = "base_model")]
    base_model: String,
    #[arg(long = "data_path")]
    data_path: PathBuf,
    #[arg(long = "cutoff_len", default_value_t = 256)]
    cutoff_len: usize,
    #[arg(long)]
    threads: Option<usize>,
}

/// Runs `bench-tokenize`.
///
/// # Errors
/// When the tokenizer or the records cannot be read.
pub fn run(args: TokenizeArgs) -> Result<()> {
    let TokenizeArgs { base_model, data_path, cutoff_len, threads } = args;
    set_threads(threads)?;
    let tokenizer = Base::open(&base_model)?.tokenizer()?;
    let template = PromptTemplate::load("alpaca")?;
    let start = Instant::now();
    let records = load_records(&data_path, BadRecords::Refuse)?.records;
    let read_s = start.elapsed().as_secs_f64();
    let config = TokenizeConfig { cutoff_len, ..TokenizeConfig::default() };
    let start = Instant::now();
    let (_, report) = tokenize_records(&records, &template, &tokenizer, &config)?;
    let seconds = start.elapsed().as_secs_f64();
    print(&format!(
        "{{\"records\": {}, \"tokens\": {}, \"read_s\": {read_s:.4}, \"seconds\": {seconds:.4}}}\n",
        records.len(),
        report.tokens
    ));
    Ok(())
}
