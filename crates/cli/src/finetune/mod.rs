//! `finetune`: LoRA or full fine-tuning of a LLaMA checkpoint on Alpaca records.

mod args;
mod inputs;
mod output_dir;
mod plan;
mod recipe;
mod records;
mod report;
mod resolve;
mod run;
mod settings;
mod start;
mod summary;

pub use args::FinetuneArgs;
pub use run::run;
