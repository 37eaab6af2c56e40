//! The settings of `cargo xtask bench train`, and what its parts share.

use std::path::PathBuf;
use std::process::Command;

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::bars::Bar;
use super::workbench::Workbench;

#[derive(Debug, Clone, Args)]
pub(crate) struct TrainArgs {
    /// Python with torch 2.11.0, transformers and peft
    #[arg(long, value_name = "PATH", default_value = "python3")]
    pub(crate) python: String,
    /// Directory of the base model [default: stories15M where it is at hand, else the embedded model]
    #[arg(long = "base_model", alias = "base-model", value_name = "DIR")]
    pub(crate) base_model: Option<PathBuf>,
    /// Records [default: 64 records of Alpaca where they are at hand, else our own 64]
    #[arg(long = "data_path", alias = "data-path", value_name = "FILE")]
    pub(crate) data_path: Option<PathBuf>,
    /// Records that are tokenised [default: all of Alpaca where it is at hand, else none]
    #[arg(long = "tokenize_path", alias = "tokenize-path", value_name = "FILE")]
    pub(crate) tokenize_path: Option<PathBuf>,
    /// Rounds of the step comparison
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) rounds: usize,
    /// Timed steps in a round
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) steps: usize,
    /// Rounds of the comparison of whole processes
    #[arg(long = "whole_rounds", alias = "whole-rounds", value_name = "N", default_value_t = 3)]
    pub(crate) whole_rounds: usize,
    /// CPU threads of both sides [default: all cores]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
    /// Models of the part `models`: directories in Hugging Face's layout, or published shapes, which get random weights
    #[arg(long, value_name = "MODEL", value_delimiter = ',', default_values = ["smollm2-135m", "tinyllama-1.1b"])]
    pub(crate) models: Vec<String>,
    /// Rounds of the part `models`
    #[arg(long = "model_rounds", alias = "model-rounds", value_name = "N", default_value_t = 2)]
    pub(crate) model_rounds: usize,
    /// Timed steps of its processes
    #[arg(long = "model_steps", alias = "model-steps", value_name = "N", default_value_t = 3)]
    pub(crate) model_steps: usize,
    /// Measure too how the step of these models grows with tokens, rank and layers
    #[arg(long)]
    pub(crate) growth: bool,
    /// Time a step too beside so many loops that take the cores away [default of the part: 6]
    #[arg(long = "busy_loops", alias = "busy-loops", value_name = "N")]
    pub(crate) busy_loops: Option<usize>,
    /// Run these parts only
    #[arg(long, value_name = "PART", value_delimiter = ',')]
    pub(crate) only: Vec<Part>,
    /// Load a 7B too: 13.5 GB of random weights are written first
    #[arg(long = "with_7b", alias = "with-7b")]
    pub(crate) with_7b: bool,
    /// Keep the 7B's files
    #[arg(long)]
    pub(crate) keep: bool,
}

/// A part of the bench.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// One training step, beside Python's.
    Step,
    /// A step of the models that people train, in three precisions, beside Python's.
    Models,
    /// The growth of that step, with the flag for it.
    Growth,
    /// One training step beside busy loops, and Python's, with the flag for it.
    Busy,
    /// A whole fine-tuning process, beside Python's.
    Whole,
    /// Tokenising.
    Tokenize,
    /// Loading a 7B, with the flag for it.
    Load,
}

/// Settings that every part shares.
#[derive(Debug)]
pub(crate) struct Setting<'a> {
    pub(crate) bench: Workbench<'a>,
    pub(crate) args: &'a TrainArgs,
    pub(crate) base_model: PathBuf,
    pub(crate) data_path: PathBuf,
}

/// Measurements of a part, for the file, and its bars.
pub(crate) type Measured = (Value, Vec<Bar>);

impl Setting<'_> {
    /// Makes a command of a committed script in the user's Python.
    pub(crate) fn script(&self, name: &str) -> Command {
        self.bench.script(&self.args.python, name)
    }

    /// Returns the records to tokenise: many, where they are at hand.
    pub(crate) fn many_records(&self) -> Option<PathBuf> {
        self.args.tokenize_path.clone().or_else(|| self.bench.shared("alpaca/alpaca_data.json"))
    }
}
