//! Flags of the programs: their pages in the book, and the ranges of their numbers.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod compute;
mod conflicts;
mod finetune;
mod generate;
mod pages;
mod paths;
mod ranges;

use clap::{Command, CommandFactory};
use cli::{compare, evaluate, merge, pretrain, unmerge};

/// Every program's flags, and its guide.
fn programs() -> [(Command, Option<&'static str>); 7] {
    [
        (cli::finetune::FinetuneArgs::command(), Some("finetune.md")),
        (cli::generate::GenerateArgs::command(), Some("generate.md")),
        (merge::MergeArgs::command(), Some("merge.md")),
        (unmerge::UnmergeArgs::command(), Some("merge.md")),
        (evaluate::EvaluateArgs::command(), None),
        (compare::CompareArgs::command(), None),
        (pretrain::PretrainArgs::command(), None),
    ]
}
