//! Flags to decided settings.

use std::path::{Path, PathBuf};
use std::time::Duration;

use alpaca_data::{IgnoredColumns, PromptTemplate, ReadConfig};
use anyhow::Result;
use infer::{GenerateConfig, SamplingConfig};
use llama_finetune::Prompt;
use nn_core::Dtype;
use serve::{Limits, PageDefaults, ServeConfig};

use super::args::{Compat, GenerateArgs};
use crate::address::address;
use crate::compute::Compute;
use crate::exit::usage;

/// The program, fully decided.
#[derive(Debug)]
pub struct Settings {
    /// Models to load; the first answers where one is enough.
    pub sources: Vec<SourceSpec>,
    /// Name or file of the prompt template, where one is asked for.
    pub template: Option<String>,
    /// Task of the program.
    pub mode: Mode,
    /// Show ids and pieces of tokens beside texts.
    pub show_tokens: bool,
    /// Settings of decoding; the end tokens are the source's.
    pub sampling: GenerateConfig,
    /// Device, precision and quantisation.
    pub compute: Compute,
}

/// A model to load, and its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceSpec {
    /// Name, for people and for the API.
    pub name: String,
    /// Path or name of the base, unless the adapter is to name it.
    pub base: Option<String>,
    /// Directory or name of the adapter.
    pub adapter: Option<String>,
}

/// The task of the program.
#[derive(Debug)]
pub enum Mode {
    /// One answer.
    Once {
        /// Prompt to answer.
        prompt: Prompt,
        /// Show text while it is written.
        stream: bool,
        /// Print an object of JSON.
        json: bool,
    },
    /// Instructions as they are typed.
    Interactive,
    /// Answers to a file of prompts.
    File {
        /// The prompts.
        input: PathBuf,
        /// The answers.
        output: PathBuf,
        /// Prompts at once.
        rows: usize,
        /// Columns that may be filled and do not count.
        ignored: IgnoredColumns,
    },
    /// The perplexity of a file.
    Perplexity {
        /// Records or a text.
        path: PathBuf,
        /// Treatment of records.
        read: ReadConfig,
    },
    /// The server.
    Web(ServeConfig),
}

/// Seed of sampling when none is given.
const SEED: u64 = 42;

/// Decides every setting.
///
/// # Errors
/// When two flags exclude each other or a value cannot be.
pub fn resolve(args: GenerateArgs) -> Result<Settings> {
    let mode = mode(&args)?;
    let sampling = sampling(&args)?;
    // Every field by name: a new flag does not compile until it is used somewhere.
    let GenerateArgs {
        base_model,
        lora_weights,
        compare,
        prompt_template,
        share_gradio,
        compute,
        show_tokens,
        prompt: _,
        instruction: _,
        input: _,
        json: _,
        interactive: _,
        file: _,
        out: _,
        batch_size: _,
        perplexity: _,
        temperature: _,
        top_p: _,
        top_k: _,
        num_beams: _,
        max_new_tokens: _,
        stream_output: _,
        repetition_penalty: _,
        min_p: _,
        stop: _,
        seed: _,
        compat: _,
        server_name: _,
        server_port: _,
        api_key: _,
        max_rows: _,
        queue_len: _,
        max_prompt_tokens: _,
        max_answer_tokens: _,
        max_seconds: _,
        ignore_columns: _,
    } = args;
    let compute = compute.resolve(Dtype::Auto)?;
    if share_gradio {
        tracing::warn!(
            "share_gradio: there is no public link; use `--server_name 0.0.0.0 --api_key …` to let others in"
        );
    }
    let base = base_model.filter(|base| !base.trim().is_empty());
    let adapter = Some(lora_weights).filter(|dir| !dir.trim().is_empty());
    if base.is_none() && adapter.is_none() {
        return Err(usage("base_model is missing: give --base_model MODEL or set BASE_MODEL"));
    }
    let name = default_name(base.as_deref(), adapter.as_deref());
    let mut sources = vec![SourceSpec { name, base, adapter }];
    for text in &compare {
        sources.push(parse_source(text)?);
    }
    let template = Some(prompt_template).filter(|name| !name.is_empty());
    if let Some(name) = &template {
        PromptTemplate::load(name)?;
    }
    if !matches!(mode, Mode::Web(_)) && !compare.is_empty() {
        return Err(usage("compare is for the server; leave it out or start without the other mode"));
    }
    if show_tokens && matches!(mode, Mode::Web(_) | Mode::Perplexity { .. }) {
        return Err(usage(
            "show_tokens is for --prompt, --instruction, --interactive and --file; the server has /tokenize and `logprobs`",
        ));
    }
    Ok(Settings { sources, template, mode, show_tokens, sampling, compute })
}

fn mode(args: &GenerateArgs) -> Result<Mode> {
    let chosen = [
        ("prompt", args.prompt.is_some()),
        ("instruction", args.instruction.is_some()),
        ("interactive", args.interactive),
        ("file", args.file.is_some()),
        ("perplexity", args.perplexity.is_some()),
    ];
    let mut chosen = chosen.into_iter().filter(|&(_, given)| given).map(|(name, _)| name);
    if let (Some(one), Some(other)) = (chosen.next(), chosen.next()) {
        return Err(usage(format!("{one} and {other} are two things to do; give one of them")));
    }
    if args.input.is_some() && args.instruction.is_none() {
        return Err(usage("input belongs to an instruction; give --instruction too"));
    }
    if args.out.is_some() && args.file.is_none() {
        return Err(usage("out is where the answers to --file go; give --file too"));
    }
    if args.json && args.prompt.is_none() && args.instruction.is_none() {
        return Err(usage(
            "json is for one answer; give --prompt or --instruction too (--file writes JSON as it is)",
        ));
    }
    if let Some(text) = &args.prompt {
        return Ok(Mode::Once {
            prompt: Prompt::text(text),
            stream: args.stream_output.unwrap_or_default(),
            json: args.json,
        });
    }
    if let Some(instruction) = &args.instruction {
        let (instruction, input) = (instruction.clone(), args.input.clone().unwrap_or_default());
        return Ok(Mode::Once {
            prompt: Prompt::Instruction { instruction, input },
            stream: args.stream_output.unwrap_or_default(),
            json: args.json,
        });
    }
    if args.interactive {
        return Ok(Mode::Interactive);
    }
    if let Some(input) = args.file.clone() {
        let output = args.out.clone().ok_or_else(|| usage("file needs --out, where its answers go"))?;
        let ignored = args.ignore_columns.clone().unwrap_or_default();
        return Ok(Mode::File { input, output, rows: args.batch_size, ignored });
    }
    if let Some(path) = &args.perplexity {
        let read =
            ReadConfig { ignored: args.ignore_columns.clone().unwrap_or_default(), ..ReadConfig::default() };
        return Ok(Mode::Perplexity { path: path.clone(), read });
    }
    web(args).map(Mode::Web)
}

fn sampling(args: &GenerateArgs) -> Result<GenerateConfig> {
    let compat = args.compat == Some(Compat::AlpacaLora);
    let num_beams = args.num_beams.unwrap_or(if compat { 4 } else { 1 });
    // alpaca-lora never sets do_sample, so its temperature, top_p and top_k do nothing.
    let do_sample = !compat && num_beams == 1 && args.temperature > 0.0;
    if args.temperature.is_nan() || args.temperature < 0.0 {
        return Err(usage(format!("temperature is {}; expected 0 or more", args.temperature)));
    }
    if args.max_new_tokens == 0 {
        return Err(usage("max_new_tokens is 0; it has to be at least 1"));
    }
    let config = GenerateConfig {
        max_new_tokens: args.max_new_tokens,
        stop: args.stop.clone(),
        sampling: SamplingConfig {
            do_sample,
            temperature: if do_sample { args.temperature } else { 1.0 },
            top_k: args.top_k,
            top_p: args.top_p,
            min_p: args.min_p,
            repetition_penalty: args.repetition_penalty,
            num_beams,
            seed: args.seed.unwrap_or(SEED),
            ..SamplingConfig::default()
        },
        ..GenerateConfig::default()
    };
    config.validate().map_err(|error| usage(error.to_string()))?;
    Ok(config)
}

fn web(args: &GenerateArgs) -> Result<ServeConfig> {
    let compat = args.compat == Some(Compat::AlpacaLora);
    Ok(ServeConfig {
        address: address(&args.server_name, args.server_port)?,
        api_key: args.api_key.clone().filter(|key| !key.is_empty()),
        limits: Limits {
            rows: args.max_rows,
            queue_len: args.queue_len,
            prompt_tokens: args.max_prompt_tokens,
            new_tokens: args.max_answer_tokens,
            answer_time: Duration::from_secs(args.max_seconds.max(1)),
            ..Limits::default()
        },
        page: PageDefaults {
            temperature: args.temperature,
            top_p: args.top_p,
            top_k: args.top_k,
            num_beams: args.num_beams.unwrap_or(if compat { 4 } else { 1 }),
            max_new_tokens: args.max_new_tokens,
            stream: args.stream_output.unwrap_or(true),
        },
    })
}

/// Returns the last part of a path, or of a hub id.
pub(crate) fn last_part(path: &str) -> String {
    let name = Path::new(path).file_name().map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| path.to_owned())
}

fn default_name(base: Option<&str>, adapter: Option<&str>) -> String {
    [base, adapter].into_iter().flatten().map(|name| last_part(name.trim())).collect::<Vec<_>>().join("+")
}

/// Parses `NAME=MODEL` or `NAME=MODEL+ADAPTER`; a `+` that belongs to an existing path is part of it.
fn parse_source(text: &str) -> Result<SourceSpec> {
    let parts = text.split_once('=').filter(|(name, path)| !name.is_empty() && !path.is_empty());
    let (name, path) = parts
        .ok_or_else(|| usage(format!("compare is `{text}`; expected NAME=MODEL or NAME=MODEL+ADAPTER")))?;
    let (base, adapter) = match path.rsplit_once('+').filter(|_| !Path::new(path).exists()) {
        Some((base, adapter)) => (base, Some(adapter.trim().to_owned())),
        None => (path, None),
    };
    Ok(SourceSpec { name: name.trim().to_owned(), base: Some(base.trim().to_owned()), adapter })
}
