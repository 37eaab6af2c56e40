//! `merge`: a base and its adapters into weights that other tools load, with a proof.

mod args;
mod report;
mod run;
mod settings;

pub use args::MergeArgs;
pub use run::run;
