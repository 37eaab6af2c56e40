//! The programs `finetune`, `generate`, `evaluate`, `compare`, `merge`, `unmerge` and `pretrain`, and the small ones that the benches run.
//!
//! This is where siblings meet: a model gets its adapter, its data and its trainer here, and nowhere else. Each program
//! parses flags, resolves them to a configuration, composes the crates and reports.

pub mod bench;
pub mod bench_decode;
pub mod bench_kernels;
pub mod bench_nf4;
pub mod compare;
pub mod data;
pub mod device;
pub mod evaluate;
pub mod exit;
pub mod finetune;
#[cfg(test)]
mod flag_page;
#[cfg(test)]
mod flag_page_tests;
pub mod flags;
pub mod generate;
pub mod merge;
pub mod pretrain;
pub mod report;
pub mod unmerge;
