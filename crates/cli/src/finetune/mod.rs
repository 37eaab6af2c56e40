//! `finetune`: LoRA or full fine-tuning of a LLaMA checkpoint on Alpaca records.

mod args;
mod config;
mod output;
mod plan;
mod recipe;
mod records;
mod run;
mod start;
mod summary;

pub use args::FinetuneArgs;
pub use config::FinetuneConfig;
pub use run::run;
