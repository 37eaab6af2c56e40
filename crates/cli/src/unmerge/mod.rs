//! `unmerge`: the adapter between two checkpoints.

mod args;
mod report;
mod run;

pub use args::UnmergeArgs;
pub use run::run;
