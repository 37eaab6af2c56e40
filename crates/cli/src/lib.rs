//! The programs `finetune`, `generate`, `evaluate`, `compare`, `merge`, `unmerge` and `pretrain`.
//!
//! This is where siblings meet: a model gets its adapter, its data and its trainer here, and nowhere else. Each program
//! parses flags, resolves them to a configuration, composes the crates and reports.

mod chat;
pub mod compare;
pub mod compute;
pub mod evaluate;
pub mod exit;
pub mod finetune;
#[cfg(test)]
mod flag_page_tests;
pub mod generate;
pub mod merge;
pub mod output;
pub mod pretrain;
mod signals;
mod spelling;
pub mod unmerge;
