//! What decoding is measured with: models, programs and what they print.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Deserialize;

use super::workbench::{Workbench, ask};

#[derive(Debug, Clone, Args)]
pub(crate) struct DecodeArgs {
    /// Python with torch 2.11.0 and transformers
    #[arg(long, value_name = "PATH", default_value = "python3")]
    pub(super) python: String,
    /// Python with llama-cpp-python, which takes the place of --python: decoding, and a prompt of 256 tokens, beside llama.cpp
    #[arg(long = "llama_cpp", alias = "llama-cpp", value_name = "PATH")]
    pub(super) llama_cpp: Option<String>,
    /// Rounds, in each of which all sides run as processes of their own
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(super) rounds: usize,
    /// New tokens after a prompt of five (beside llama.cpp, of 256); the 1.1B gets a quarter
    #[arg(long = "new_tokens", alias = "new-tokens", value_name = "N", default_value_t = 128)]
    pub(super) new_tokens: usize,
    /// CPU threads of all sides [default: all cores]
    #[arg(long, value_name = "N")]
    pub(super) threads: Option<usize>,
    /// These models only: stories15m; random weights of smollm2-135m, tinyllama-1.1b; or any model's path
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(super) only: Vec<String>,
}

/// Output of `bench-decode`, `decode.py` and `decode_llama_cpp.py`.
#[derive(Debug, Deserialize)]
pub(super) struct Decoded {
    pub(super) first_token_s: Vec<f64>,
    pub(super) token_s: Vec<f64>,
    pub(super) ids: Vec<i64>,
    pub(super) weight_bytes: Option<u64>,
    pub(super) peak_host_mib: u64,
    pub(super) private_kib: Option<[u64; 2]>,
    pub(super) read_gb_per_s: Option<f64>,
    /// Kinds of memory that llama.cpp's weights lie in.
    #[serde(default)]
    pub(super) buffers: Vec<String>,
}

/// A model of the bench and what is asked of it.
#[derive(Clone, Copy)]
pub(super) struct Model<'a> {
    /// Its name, or its path.
    pub(super) name: &'a str,
    /// Times faster than transformers, at least.
    pub(super) ratio: Option<f64>,
    /// Part of the bound set by memory that bfloat16 reaches, at least.
    pub(super) of_bound: Option<f64>,
    /// Times faster in NF4 than in bfloat16, at least.
    pub(super) nf4: Option<f64>,
    /// Divisor of the number of new tokens.
    part: usize,
}

const MODELS: [Model<'_>; 3] = [
    Model { name: "stories15m", ratio: None, of_bound: None, nf4: None, part: 1 },
    Model { name: "smollm2-135m", ratio: Some(2.0), of_bound: None, nf4: None, part: 1 },
    Model { name: "tinyllama-1.1b", ratio: Some(1.3), of_bound: Some(0.55), nf4: Some(2.0), part: 4 },
];
pub(super) const STORIES: &str = "models/stories15M-hf";
pub(super) struct Setting<'a> {
    pub(super) bench: Workbench<'a>,
    pub(super) args: &'a DecodeArgs,
}

/// Finds the models that `names` asks for; all where there are none.
pub(super) fn chosen(names: &[String]) -> Result<Vec<Model<'_>>> {
    if names.is_empty() {
        return Ok(MODELS.to_vec());
    }
    let find = |name| match MODELS.iter().find(|model| model.name == name) {
        Some(model) => Ok(*model),
        None if PathBuf::from(name).exists() => {
            Ok(Model { name, ratio: None, of_bound: None, nf4: None, part: 1 })
        }
        None => bail!("no model `{name}`; expected a path, stories15m, smollm2-135m or tinyllama-1.1b"),
    };
    names.iter().map(|name| find(name.as_str())).collect()
}

impl Setting<'_> {
    /// Returns the path of a model, which is made where it can be.
    pub(super) fn weights(&self, model: &Model<'_>) -> Result<Option<PathBuf>> {
        match model.name {
            "stories15m" => Ok(self.bench.shared(STORIES)),
            name if MODELS.iter().any(|model| model.name == name) => self.bench.random_model(name).map(Some),
            path => Ok(Some(std::path::absolute(path).context("cannot resolve a path")?)),
        }
    }

    /// Returns the number of new tokens that a model is asked for.
    pub(super) fn new_tokens(&self, model: &Model<'_>) -> usize {
        self.args.new_tokens / model.part
    }

    /// Runs one side; `bench-decode` and `decode.py` take the same flags.
    pub(super) fn ask(
        &self,
        command: &mut Command,
        path: &Path,
        dtype: &str,
        tokens: usize,
    ) -> Result<Decoded> {
        command.arg("--base_model").arg(path).args(["--dtype", dtype]);
        command.args(["--threads", &self.bench.threads.to_string()]);
        ask(command.args(["--new_tokens", &tokens.to_string(), "--repeats", "3"]))
    }
}
