//! The command line of `compare`.

#![expect(clippy::doc_markdown, reason = "the comments on arguments are the help text")]

use std::path::PathBuf;

use alpaca_data::IgnoredColumns;
use clap::{Arg, Parser};
use qlora_nf4::Quantization;

use crate::compute::ComputeArgs;
use crate::spelling::parse_bool;

/// Compare a model with a reference on the records of a file: the logits of prompt and answer, and greedy tokens behind
/// the prompt. Both are loaded one after the other and computed in the same precision.
#[derive(Debug, Parser)]
#[command(
    name = "compare",
    version,
    next_help_heading = "Model",
    max_term_width = 100,
    rename_all = "snake_case"
)]
#[command(mut_args(described))]
pub struct CompareArgs {
    /// Base model of the reference [default: the one that its adapter names]
    #[arg(long, value_name = "MODEL")]
    pub(crate) reference_model: Option<String>,
    /// Adapter of the reference: a directory, or a name on the hub
    #[arg(long, value_name = "DIR")]
    pub(crate) reference_lora: Option<String>,
    /// Base model of the compared model [default: the one that its adapter names]
    #[arg(long, value_name = "MODEL")]
    pub(crate) base_model: Option<String>,
    /// Adapter of the compared model: a directory, or a name on the hub
    #[arg(long, value_name = "DIR")]
    pub(crate) lora_weights: Option<String>,
    /// JSON or JSONL file of records, a directory of such files, or a data set on the hub
    #[arg(long, value_name = "FILE")]
    pub(crate) data_path: String,
    /// Go on where records fill columns that have no place in the prompt, such as system and history: without those of these
    /// names, or without all [default: false]
    #[arg(long, value_name = "NAMES", num_args = 0..=1, default_missing_value = "true")]
    pub(crate) ignore_columns: Option<IgnoredColumns>,
    /// Number of records to compare, spread over the file
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub(crate) records: usize,
    /// Maximum number of greedy tokens behind a prompt
    #[arg(long, value_name = "N", default_value_t = 32)]
    pub(crate) max_new_tokens: usize,
    /// Compare although the two tokenizers make different tokens of the same text; both models then read the reference's
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", default_value = "false", value_parser = parse_bool)]
    pub(crate) ignore_tokenizer: bool,
    /// Prompt template: alpaca, alpaca_legacy, alpaca_short, vigogne, or a JSON file [default: alpaca; with an adapter, as it
    /// was trained]
    #[arg(long, value_name = "NAME")]
    pub(crate) prompt_template_name: Option<String>,
    /// Differences of single logits to keep in the JSON, spread over all
    #[arg(long, value_name = "N", default_value_t = 4000)]
    pub(crate) samples: usize,
    /// Write the result as JSON to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
}

/// Describes the flags that mean something of their own here.
fn described(arg: Arg) -> Arg {
    match arg.get_id().as_str() {
        "dtype" => {
            arg.help("Precision of the computation: auto, float32, bfloat16 or float16 [default: float32]")
        }
        "quantize" => arg.help(format!(
            "Quantise the compared model's linear layers while loading: {} [default: none; with an adapter, as it was trained]",
            Quantization::names()
        )),
        _ => arg,
    }
}
