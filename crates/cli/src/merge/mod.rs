//! `merge`: a base and its adapters into weights that other tools load, with a proof.

mod adapters;
mod args;
mod files;
mod gguf;
mod hf;
mod plan;
mod quantized;
mod report;
mod run;
mod settings;
mod state_dict;
mod verify;

pub use adapters::linears;
pub use args::MergeArgs;
pub use run::run;
