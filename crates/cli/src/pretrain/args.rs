//! The command line of `pretrain`.

#![expect(clippy::doc_markdown, reason = "the comments on arguments are the help text")]

use std::path::PathBuf;

use clap::Parser;
use llama_finetune::DeviceChoice;
use nn_core::Dtype;

/// Train a new LLaMA model: random weights of a published shape, trained on a plain-text corpus.
#[derive(Debug, Parser)]
#[command(
    name = "pretrain",
    version,
    next_help_heading = "Model",
    max_term_width = 100,
    rename_all = "snake_case"
)]
pub struct PretrainArgs {
    /// Run file: preset, seq_len, dtype, and a table [train] with the trainer's settings
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Shape of the model, instead of the run file's: 7b, 13b, 30b, 65b, llama2-7b, llama3-8b, llama3.2-1b,
    /// tinyllama-1.1b, smollm2-135m, tiny
    #[arg(long, value_name = "NAME")]
    pub(crate) preset: Option<String>,
    /// Text file with one document a line (`\n` stands for a line break)
    #[arg(long, value_name = "FILE")]
    pub(crate) corpus: Option<PathBuf>,
    /// Directory or file of the tokenizer
    #[arg(long, value_name = "PATH")]
    pub(crate) tokenizer: Option<PathBuf>,
    /// Directory of the model to write
    #[arg(long, value_name = "DIR")]
    pub(crate) output_dir: PathBuf,
    /// Write random weights; train nothing
    #[arg(long)]
    pub(crate) init_only: bool,
    /// Precision of the written model, instead of the run file's
    #[arg(long)]
    pub(crate) dtype: Option<Dtype>,
    /// Resume from the last checkpoint in output_dir
    #[arg(long)]
    pub(crate) resume: bool,
    /// Seed of the random weights, instead of the run file's
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Device: auto (the first GPU if there is one), cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    pub(crate) device: DeviceChoice,
    /// CPU threads [default: all cores]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
}
