//! Flags of the programs: their pages in the book, and the ranges of their numbers.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod compute;
mod conflicts;
mod finetune;
mod generate;
mod help;
mod pages;
mod paths;
mod ranges;

use clap::Command;
use cli::help::command;
use cli::{compare, evaluate, merge, pretrain, unmerge};

/// Every program's flags, and its guide.
fn programs() -> [(Command, Option<&'static str>); 8] {
    [
        (command::<cli::finetune::FinetuneArgs>(), Some("finetune.md")),
        (command::<cli::generate::GenerateArgs>(), Some("generate.md")),
        (command::<merge::MergeArgs>(), Some("merge.md")),
        (command::<unmerge::UnmergeArgs>(), Some("merge.md")),
        (command::<evaluate::EvaluateArgs>(), None),
        (command::<compare::CompareArgs>(), None),
        (command::<pretrain::PretrainArgs>(), None),
        (command::<cli::runs::RunsArgs>(), Some("finetune.md")),
    ]
}
