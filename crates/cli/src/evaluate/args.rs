//! The command line of `evaluate`.

#![expect(clippy::doc_markdown, reason = "the comments on arguments are the help text")]

use std::path::PathBuf;

use alpaca_data::IgnoredColumns;
use clap::{ArgAction, Parser};

use crate::compute::ComputeArgs;
use crate::spelling::parse_bool;

/// Answer the records of a file greedily and count the exact matches with the reference, for each kind of task.
#[derive(Debug, Parser)]
#[command(
    name = "evaluate",
    version,
    next_help_heading = "Model",
    max_term_width = 100,
    rename_all = "snake_case"
)]
pub struct EvaluateArgs {
    /// Base model [default: the one that the adapter names]
    #[arg(long, value_name = "MODEL")]
    pub(crate) base_model: Option<String>,
    /// PEFT adapter: a directory, or a name on the hub
    #[arg(long, value_name = "DIR")]
    pub(crate) lora_weights: Option<String>,
    /// JSON or JSONL file of records, a directory of such files, or a data set on the hub; a field `kind` groups the result
    #[arg(long, value_name = "FILE")]
    pub(crate) data_path: String,
    /// Go on where records fill columns that have no place in the prompt, such as system and history: without those of these
    /// names, or without all [default: false]
    #[arg(long, value_name = "NAMES", num_args = 0..=1, default_missing_value = "true")]
    pub(crate) ignore_columns: Option<IgnoredColumns>,
    /// Prompt template: alpaca, alpaca_legacy, alpaca_short, vigogne, or a JSON file [default: alpaca; with an adapter, as it
    /// was trained]
    #[arg(long, value_name = "NAME")]
    pub(crate) prompt_template_name: Option<String>,
    /// Maximum number of tokens of an answer
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub(crate) max_new_tokens: usize,
    /// Prompts that are answered together
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub(crate) batch_size: usize,
    /// Number of answers to print
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) show: usize,
    /// Also compute the perplexity of the reference answers
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", default_value = "false", value_parser = parse_bool)]
    pub(crate) perplexity: bool,
    /// Write the logits of every record, prompt and reference answer, to this safetensors file (`input_ids.N`, `logits.N`)
    #[arg(long, value_name = "FILE")]
    pub(crate) dump_logits: Option<PathBuf>,
    /// Write the whole result as JSON to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
}
