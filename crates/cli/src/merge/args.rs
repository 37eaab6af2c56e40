//! The command line of `merge`.

#![expect(clippy::doc_markdown, reason = "the comments on arguments are the help text")]

use std::path::PathBuf;

use checkpoint::{AdapterDir, FORMATS, Format, MergeConfig, Precision};
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Parser, ValueEnum};
use llama_finetune::QuantizationChoice;
use qlora_nf4::Quantization;

use crate::compute::UnknownSettingsArgs;
use crate::spelling::parse_bool;

/// A base model and its adapters into weights that other tools load: a Hugging Face directory, Meta's state dict, or a
/// GGUF file. Without an adapter the base is converted.
///
/// Every flag may be spelled with `_` or `-`. The output appears complete or not at all, and only if every layer that an
/// adapter names has changed and nothing else has.
#[derive(Debug, Parser)]
#[command(name = "merge", version, next_help_heading = "Model", max_term_width = 100)]
pub struct MergeArgs {
    /// The base model: a directory in Hugging Face's layout or Meta's, a GGUF file, or a name on the hub [default: the one
    /// that the adapter names]
    #[arg(long = "base_model", value_name = "MODEL", env = "BASE_MODEL")]
    pub(crate) base_model: Option<String>,
    /// The PEFT adapter: a directory, or a name on the hub
    #[arg(long = "lora_weights", value_name = "DIR", default_value = "", hide_default_value = true)]
    pub(crate) lora_weights: String,
    /// Directory to write; it must not exist yet [required]
    #[arg(long = "output_dir", value_name = "DIR")]
    pub(crate) output_dir: Option<PathBuf>,
    /// Form of the output
    #[arg(long, value_name = "FORMAT", default_value = "hf", value_parser = format_parser())]
    pub(crate) format: &'static dyn Format,
    /// Precision: auto (the base's), float32, bfloat16, float16, and q8_0 for GGUF
    #[arg(long, default_value = "auto")]
    pub(crate) dtype: Precision,
    /// The most bytes of one file of format hf, such as 5GB or 500MB
    #[arg(long = "max_shard_size", value_name = "SIZE", default_value = "5GB", value_parser = MergeConfig::parse_shard_size)]
    pub(crate) max_shard_size: u64,
    /// Number of model-parallel files of --format state-dict
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) shards: usize,
    /// Take the place of an output directory that exists
    #[arg(long = "overwrite_output_dir", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", default_value = "false", value_parser = parse_bool)]
    pub(crate) overwrite_output_dir: bool,

    /// Adapter and its weight in the merge; may be repeated, and takes the place of --lora_weights
    #[arg(long, value_name = "DIR[:WEIGHT]", help_heading = "Several adapters")]
    pub(crate) adapter: Vec<AdapterDir>,
    /// Combination of several adapters, as PEFT's add_weighted_adapter: cat is the weighted sum of what each adds; linear sums
    /// their factors
    #[arg(long, value_name = "NAME", default_value = "cat", help_heading = "Several adapters")]
    pub(crate) combination: CombinationArg,
    /// Multiplies all that is added
    #[arg(
        long,
        value_name = "X",
        default_value_t = 1.0,
        allow_negative_numbers = true,
        help_heading = "Several adapters"
    )]
    pub(crate) scale: f64,

    /// Load base + adapter and the written files, and compare the tokens of texts, logits and greedy tokens
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", default_value = "false", value_parser = parse_bool, help_heading = "Proof")]
    pub(crate) verify: bool,
    /// Base weights that the adapter is added to: the base as it is stored, or as QLoRA saw it, through NF4 and back [default:
    /// as the adapter was trained, else original]
    #[arg(long = "base_precision", value_name = "NAME", help_heading = "Quantised bases")]
    pub(crate) base_precision: Option<BasePrecision>,
    #[arg(
        long,
        value_name = "NAME",
        default_value = "none",
        help_heading = "Quantised bases",
        help = format!(
            "Quantise the linear layers of what format hf writes, as bitsandbytes has them: {}",
            Quantization::names()
        )
    )]
    pub(crate) quantize: QuantizationChoice,
    /// The scales of 4-bit blocks are quantised too, in what --base_precision and --quantize name
    #[arg(long = "double_quant", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", default_value = "false", value_parser = parse_bool, help_heading = "Quantised bases")]
    pub(crate) double_quant: bool,

    /// CPU threads [default: all cores]
    #[arg(long, value_name = "N", help_heading = "Machine")]
    pub(crate) threads: Option<usize>,
    #[command(flatten)]
    pub(crate) unknown_settings: UnknownSettingsArgs,
}

/// Accepts the name of a registered form, with `-` or `_` inside.
fn format_parser() -> impl TypedValueParser<Value = &'static dyn Format> {
    let values = FORMATS.iter().map(|format| {
        let value = PossibleValue::new(format.name()).help(format.description());
        let underscored: &'static str = format.name().replace('-', "_").leak();
        if underscored == format.name() { value } else { value.alias(underscored) }
    });
    PossibleValuesParser::new(values).try_map(|name| {
        let named = FORMATS.iter().find(|format| format.name() == name.replace('_', "-"));
        named.copied().ok_or("no form has this name")
    })
}

/// The way several adapters become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CombinationArg {
    /// Factors beside each other.
    Cat,
    /// Factors added.
    Linear,
}

/// The base that an adapter is added to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BasePrecision {
    /// The stored weights.
    Original,
    /// Quantised to NF4 and written out again.
    Nf4,
}
