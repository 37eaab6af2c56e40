//! `compare`: how far one model is from another, in logits, distributions and greedy tokens.

mod args;
mod report;
mod run;

pub use args::CompareArgs;
pub use run::run;
