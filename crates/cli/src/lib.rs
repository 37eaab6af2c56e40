//! The programs `finetune`, `generate`, `evaluate`, `compare`, `merge`, `unmerge`, `pretrain` and `runs`; and `llama-ft`, which is all of them.
//!
//! Each program parses flags (`args`), decides its settings (`settings`), calls the library (`run`) and reports (`report`).

// A message must never end the work: `eprintln!` panics where nobody reads.
#![warn(clippy::print_stderr)]

mod address;
mod advice;
pub mod compare;
pub mod compute;
pub mod evaluate;
pub mod exit;
mod files;
pub mod finetune;
pub mod generate;
pub mod help;
pub mod merge;
mod messages;
pub mod pretrain;
pub mod programs;
pub mod ranges;
mod run_file;
pub mod runs;
mod spelling;
mod stop;
pub mod unmerge;
mod usage;
mod version;
