//! The command line of `generate`.

#![expect(clippy::doc_markdown, reason = "the comments on arguments are the help text")]

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::flags::parse_bool;

/// Text out of a LLaMA model: a web page and an HTTP API by default; --prompt, --instruction, --interactive, --file and
/// --perplexity work without a server.
///
/// Every flag may be spelled with `_` or `-`. An answer is drawn at random as temperature, top_p and top_k say, unless the
/// temperature is 0 (the most probable token each time) or num_beams is above 1 (beam search, which draws nothing).
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
#[derive(Debug, Parser)]
#[command(name = "generate", version, max_term_width = 100)]
pub struct GenerateArgs {
    /// The base model [required]
    #[arg(long = "base_model", value_name = "MODEL", env = "BASE_MODEL")]
    pub(crate) base_model: Option<String>,
    /// Directory of a PEFT adapter to use with it
    #[arg(long = "lora_weights", value_name = "DIR", default_value = "")]
    pub(crate) lora_weights: String,
    /// Another source beside it, for the page's comparison and the API; may be repeated
    #[arg(long, value_name = "NAME=MODEL[+ADAPTER]")]
    pub(crate) compare: Vec<String>,
    /// Prompt template: alpaca, alpaca_legacy, alpaca_short, or a JSON file [default: alpaca]
    #[arg(long = "prompt_template", value_name = "NAME", default_value = "", hide_default_value = true)]
    pub(crate) prompt_template: String,
    /// Linear layers in 8 bits (LLM.int8())
    #[arg(long = "load_8bit", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", default_value = "false", value_parser = parse_bool)]
    pub(crate) load_8bit: bool,
    /// Linear layers in 4 bits (NF4)
    #[arg(long = "load_4bit", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", default_value = "false", value_parser = parse_bool)]
    pub(crate) load_4bit: bool,

    /// Answer this text as it is, without a template
    #[arg(long, value_name = "TEXT", help_heading = "Instead of the server")]
    pub(crate) prompt: Option<String>,
    /// Answer this instruction
    #[arg(long, value_name = "TEXT", help_heading = "Instead of the server")]
    pub(crate) instruction: Option<String>,
    /// The instruction's input
    #[arg(long, value_name = "TEXT", help_heading = "Instead of the server")]
    pub(crate) input: Option<String>,
    /// Answer instructions as they are typed
    #[arg(long, help_heading = "Instead of the server")]
    pub(crate) interactive: bool,
    /// Answer each line of a JSONL file (`instruction` and `input`, or `prompt`)
    #[arg(long, value_name = "FILE", help_heading = "Instead of the server")]
    pub(crate) file: Option<PathBuf>,
    /// Where the answers to --file go; what is there already is not answered again
    #[arg(long, value_name = "FILE", help_heading = "Instead of the server")]
    pub(crate) out: Option<PathBuf>,
    /// Answers of --file that are written at the same time
    #[arg(
        long = "batch_size",
        value_name = "N",
        default_value_t = 8,
        help_heading = "Instead of the server"
    )]
    pub(crate) batch_size: usize,
    /// How well the model predicts a text, or the answers of a .json or .jsonl file of Alpaca records
    #[arg(long, value_name = "FILE", help_heading = "Instead of the server")]
    pub(crate) perplexity: Option<PathBuf>,

    /// Randomness of an answer, 0 for none
    #[arg(
        long,
        value_name = "X",
        default_value_t = 0.1,
        allow_negative_numbers = true,
        help_heading = "Answers"
    )]
    pub(crate) temperature: f64,
    /// Draw from the fewest tokens that have this probability together
    #[arg(long = "top_p", value_name = "X", default_value_t = 0.75, help_heading = "Answers")]
    pub(crate) top_p: f64,
    /// Draw from this many of the most probable tokens, 0 for all
    #[arg(long = "top_k", value_name = "N", default_value_t = 40, help_heading = "Answers")]
    pub(crate) top_k: usize,
    /// Beams of a beam search [default: 1; with --compat alpaca-lora 4]
    #[arg(long = "num_beams", value_name = "N", help_heading = "Answers")]
    pub(crate) num_beams: Option<usize>,
    /// The most tokens of an answer
    #[arg(long = "max_new_tokens", value_name = "N", default_value_t = 128, help_heading = "Answers")]
    pub(crate) max_new_tokens: usize,
    /// Show an answer while it is written
    #[arg(long = "stream_output", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", default_value = "false", value_parser = parse_bool, help_heading = "Answers")]
    pub(crate) stream_output: bool,
    /// How much less likely a token becomes that was there before, 1 for not at all
    #[arg(long = "repetition_penalty", value_name = "X", default_value_t = 1.0, help_heading = "Answers")]
    pub(crate) repetition_penalty: f64,
    /// Draw only from tokens with this part of the best one's probability
    #[arg(long = "min_p", value_name = "X", default_value_t = 0.0, help_heading = "Answers")]
    pub(crate) min_p: f64,
    /// Text that ends an answer; may be repeated
    #[arg(long, value_name = "TEXT", help_heading = "Answers")]
    pub(crate) stop: Vec<String>,
    /// Seed of the draws [default: 42]
    #[arg(long, value_name = "N", help_heading = "Answers")]
    pub(crate) seed: Option<u64>,
    /// alpaca-lora: as its generate.py, 4 beams and nothing at random whatever the other flags say
    #[arg(long, value_name = "NAME", help_heading = "Answers")]
    pub(crate) compat: Option<Compat>,

    /// Address to listen on; 0.0.0.0 lets other machines in
    #[arg(
        long = "server_name",
        value_name = "ADDRESS",
        default_value = "127.0.0.1",
        help_heading = "Server"
    )]
    pub(crate) server_name: String,
    /// Port to listen on, 0 for a free one
    #[arg(long = "server_port", value_name = "PORT", default_value_t = 7860, help_heading = "Server")]
    pub(crate) server_port: u16,
    /// Key that clients have to send
    #[arg(
        long = "api_key",
        value_name = "KEY",
        env = "GENERATE_API_KEY",
        hide_env_values = true,
        help_heading = "Server"
    )]
    pub(crate) api_key: Option<String>,
    /// Accepted for alpaca-lora's sake
    #[arg(long = "share_gradio", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", default_value = "false", value_parser = parse_bool, hide = true)]
    pub(crate) share_gradio: bool,
    /// Sequences of a source that are continued together
    #[arg(long = "max_rows", value_name = "N", default_value_t = 32, help_heading = "Server")]
    pub(crate) max_rows: usize,
    /// Requests of a source that may wait
    #[arg(long = "queue_len", value_name = "N", default_value_t = 256, help_heading = "Server")]
    pub(crate) queue_len: usize,
    /// The most tokens of a prompt
    #[arg(long = "max_prompt_tokens", value_name = "N", default_value_t = 2048, help_heading = "Server")]
    pub(crate) max_prompt_tokens: usize,
    /// The most tokens that a request may ask for
    #[arg(long = "max_answer_tokens", value_name = "N", default_value_t = 2048, help_heading = "Server")]
    pub(crate) max_answer_tokens: usize,
    /// Seconds that an answer may take
    #[arg(long = "max_seconds", value_name = "N", default_value_t = 600, help_heading = "Server")]
    pub(crate) max_seconds: u64,

    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto", help_heading = "Machine")]
    pub(crate) device: String,
    /// auto, float32, bfloat16 or float16
    #[arg(long, default_value = "auto", help_heading = "Machine")]
    pub(crate) dtype: String,
    /// CPU threads [default: all cores]
    #[arg(long, value_name = "N", help_heading = "Machine")]
    pub(crate) threads: Option<usize>,
}

/// Whose behaviour is reproduced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compat {
    /// tloen/alpaca-lora, generate.py.
    AlpacaLora,
}
