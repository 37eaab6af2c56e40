//! The command line of `generate`.

#![expect(clippy::doc_markdown, reason = "the comments on arguments are the help text")]

use std::path::PathBuf;

use alpaca_data::IgnoredColumns;
use clap::{Parser, ValueEnum};

use crate::compute::ComputeArgs;
use crate::spelling::parse_bool;

/// Generate text with a LLaMA model: a web page and an HTTP API by default; --prompt, --instruction, --interactive,
/// --file and --perplexity work without a server.
///
/// Every flag may be spelled with `_` or `-`. Answers are sampled with temperature, top_p and top_k, unless the
/// temperature is 0 (greedy decoding) or num_beams is above 1 (beam search).
#[derive(Debug, Parser)]
#[command(
    name = "generate",
    version,
    next_help_heading = "Model",
    max_term_width = 100,
    rename_all = "snake_case"
)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub struct GenerateArgs {
    /// Base model: a directory, a GGUF file, or a name on the hub [default: the one that the
    /// adapter names]
    #[arg(long, value_name = "MODEL", env = "BASE_MODEL")]
    pub(crate) base_model: Option<String>,
    /// PEFT adapter to load on top of it: a directory, or a name on the hub
    #[arg(long, value_name = "DIR", default_value = "")]
    pub(crate) lora_weights: String,
    /// Another model to serve beside it, for the page's comparison and the API; may be repeated
    #[arg(long, value_name = "NAME=MODEL[+ADAPTER]")]
    pub(crate) compare: Vec<String>,
    /// Prompt template: alpaca, alpaca_legacy, alpaca_short, vigogne, or a JSON file [default: alpaca; with an adapter, as it
    /// was trained]
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub(crate) prompt_template: String,

    /// Continue this text as it is, without a prompt template
    #[arg(long, value_name = "TEXT", help_heading = "Instead of the server")]
    pub(crate) prompt: Option<String>,
    /// Answer this instruction
    #[arg(long, value_name = "TEXT", help_heading = "Instead of the server")]
    pub(crate) instruction: Option<String>,
    /// Input of the instruction
    #[arg(long, value_name = "TEXT", help_heading = "Instead of the server")]
    pub(crate) input: Option<String>,
    /// Answer instructions as they are typed
    #[arg(long, help_heading = "Instead of the server")]
    pub(crate) interactive: bool,
    /// Answer each line of a JSONL file (`instruction` and `input`, or `prompt`)
    #[arg(long, value_name = "FILE", help_heading = "Instead of the server")]
    pub(crate) file: Option<PathBuf>,
    /// Print the answer to --prompt or --instruction as one JSON object, with the keys of a line of --out
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", default_value = "false", value_parser = parse_bool, help_heading = "Instead of the server")]
    pub(crate) json: bool,
    /// JSONL file for the answers to --file; prompts that it answers already are skipped
    #[arg(long, value_name = "FILE", help_heading = "Instead of the server")]
    pub(crate) out: Option<PathBuf>,
    /// Batch size of --file
    #[arg(long, value_name = "N", default_value_t = 8, help_heading = "Instead of the server")]
    pub(crate) batch_size: usize,
    /// Compute the perplexity of a text, or of the answers of a .json or .jsonl file of Alpaca records
    #[arg(long, value_name = "FILE", help_heading = "Instead of the server")]
    pub(crate) perplexity: Option<PathBuf>,
    /// Go on where records of --file or --perplexity fill columns that have no place in the prompt, such as system and history: without
    /// those of these names, or without all [default: false]
    #[arg(long, value_name = "NAMES", num_args = 0..=1, default_missing_value = "true", help_heading = "Instead of the server")]
    pub(crate) ignore_columns: Option<IgnoredColumns>,

    /// Softmax temperature, 0 for greedy decoding
    #[arg(
        long,
        value_name = "X",
        default_value_t = 0.1,
        allow_negative_numbers = true,
        help_heading = "Answers"
    )]
    pub(crate) temperature: f64,
    /// Nucleus (top-p) sampling: draw from the smallest set of tokens whose probabilities add up to P
    #[arg(long, value_name = "P", default_value_t = 0.75, help_heading = "Answers")]
    pub(crate) top_p: f64,
    /// Top-k sampling: draw from the K most probable tokens, 0 for all
    #[arg(long, value_name = "K", default_value_t = 40, help_heading = "Answers")]
    pub(crate) top_k: usize,
    /// Beam search with this many beams [default: 1; with --compat alpaca-lora 4]
    #[arg(long, value_name = "N", help_heading = "Answers")]
    pub(crate) num_beams: Option<usize>,
    /// Maximum number of tokens of an answer
    #[arg(long, value_name = "N", default_value_t = 128, help_heading = "Answers")]
    pub(crate) max_new_tokens: usize,
    /// Stream: show an answer while it is generated [default: on the page true, else false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", value_parser = parse_bool, help_heading = "Answers")]
    pub(crate) stream_output: Option<bool>,
    /// Show the tokens of the prompt and of the answer: ids and pieces of the vocabulary; with --file, in its lines
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", default_value = "false", value_parser = parse_bool, help_heading = "Answers")]
    pub(crate) show_tokens: bool,
    /// Repetition penalty: divide the positive logits of tokens that occurred before by this (and multiply negative ones), 1
    /// for none
    #[arg(long, value_name = "X", default_value_t = 1.0, help_heading = "Answers")]
    pub(crate) repetition_penalty: f64,
    /// Min-p sampling: draw only from tokens with at least this fraction of the best token's probability
    #[arg(long, value_name = "X", default_value_t = 0.0, help_heading = "Answers")]
    pub(crate) min_p: f64,
    /// Stop string: end an answer before this text; may be repeated
    #[arg(long, value_name = "TEXT", help_heading = "Answers")]
    pub(crate) stop: Vec<String>,
    /// Seed of sampling [default: 42]
    #[arg(long, value_name = "N", help_heading = "Answers")]
    pub(crate) seed: Option<u64>,
    /// alpaca-lora: as its generate.py, beam search with 4 beams and no sampling, whatever the other flags say
    #[arg(long, value_name = "NAME", help_heading = "Answers")]
    pub(crate) compat: Option<Compat>,

    /// Address to listen on; 0.0.0.0 accepts other machines
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1", help_heading = "Server")]
    pub(crate) server_name: String,
    /// Port to listen on, 0 for a free one
    #[arg(long, value_name = "PORT", default_value_t = 7860, help_heading = "Server")]
    pub(crate) server_port: u16,
    /// API key that clients have to send
    #[arg(
        long,
        value_name = "KEY",
        env = "GENERATE_API_KEY",
        hide_env_values = true,
        help_heading = "Server"
    )]
    pub(crate) api_key: Option<String>,
    /// Accepted for alpaca-lora's sake
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", default_value = "false", value_parser = parse_bool, hide = true, help_heading = "Accepted, without effect")]
    pub(crate) share_gradio: bool,
    /// Maximum batch size of a model: sequences that are decoded together
    #[arg(long, value_name = "N", default_value_t = 32, help_heading = "Server")]
    pub(crate) max_rows: usize,
    /// Maximum number of waiting requests of a model
    #[arg(long, value_name = "N", default_value_t = 256, help_heading = "Server")]
    pub(crate) queue_len: usize,
    /// Maximum number of tokens of a prompt
    #[arg(long, value_name = "N", default_value_t = 2048, help_heading = "Server")]
    pub(crate) max_prompt_tokens: usize,
    /// Maximum number of new tokens that a request may ask for
    #[arg(long, value_name = "N", default_value_t = 2048, help_heading = "Server")]
    pub(crate) max_answer_tokens: usize,
    /// Maximum number of seconds for an answer
    #[arg(long, value_name = "N", default_value_t = 600, help_heading = "Server")]
    pub(crate) max_seconds: u64,

    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
}

/// The program whose behaviour is reproduced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compat {
    /// tloen/alpaca-lora, generate.py.
    AlpacaLora,
}
