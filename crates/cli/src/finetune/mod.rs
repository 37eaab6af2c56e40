//! `finetune`: LoRA or full fine-tuning of a LLaMA checkpoint on Alpaca records.

mod args;
mod live;
mod plan;
mod print_config;
mod processes;
mod recipe;
mod report;
mod resolve;
mod run;
mod settings;

pub use args::FinetuneArgs;
pub use resolve::{resolve, run_file};
pub use run::run;
pub use settings::FinetuneConfig;
