//! `evaluate`: exact-match accuracy of a model's answers to Alpaca records.

mod args;
mod report;
mod run;

pub use args::EvaluateArgs;
pub use run::run;
