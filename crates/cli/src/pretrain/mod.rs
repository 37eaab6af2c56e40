//! `pretrain`: a new LLaMA, from random weights and a plain-text corpus.

mod args;
mod run;
mod settings;

pub use args::PretrainArgs;
pub use run::run;
