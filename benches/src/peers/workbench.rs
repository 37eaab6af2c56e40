//! What every bench works with: our programs, the peers' scripts, random models, a folder for results.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use checkpoint::copy_tokenizer_files;
use serde::de::DeserializeOwned;
use xtask::measure::cpu_name;
use xtask::output::say;
use xtask::workspace::Workspace;
use xtask::{process, setup};

/// Large models and data that are not committed lie here, where somebody has put them.
const SHARED: &str = "../shared/data";

/// Programs, folders and threads of a bench.
#[derive(Debug)]
pub(crate) struct Workbench<'a> {
    pub(crate) workspace: &'a Workspace,
    /// Directory of our programs.
    bin: PathBuf,
    /// Directory of the results.
    pub(crate) out: PathBuf,
    /// CPU threads of every side.
    pub(crate) threads: usize,
}

impl<'a> Workbench<'a> {
    /// Builds the programs and makes the folder. `threads` is all cores where it is not given.
    pub(crate) fn new(workspace: &'a Workspace, threads: Option<usize>) -> Result<Self> {
        setup::ensure(workspace)?;
        let out = workspace.path("target/bench");
        fs::create_dir_all(&out).with_context(|| format!("cannot create `{}`", out.display()))?;
        let threads = threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        let bench = Self { workspace, bin: workspace.release_binaries()?, out, threads };
        say(&format!("{threads} threads, {}", cpu_name()));
        Ok(bench)
    }

    /// Makes a command of one of our programs.
    pub(crate) fn program(&self, name: &str) -> Command {
        self.workspace.command(self.bin.join(name))
    }

    /// Makes a command of a committed script in the user's Python, which contacts no hub.
    pub(crate) fn script(&self, python: &str, name: &str) -> Command {
        let mut command = self.workspace.command(python);
        command.arg(self.workspace.path("benches").join(name));
        command.env("HF_HUB_OFFLINE", "1").env("TOKENIZERS_PARALLELISM", "false");
        command
    }

    /// Returns what lies in [`SHARED`] as `shared`, where it is at hand; else what the clone has as `own`.
    pub(crate) fn at_hand(&self, shared: &str, own: &str) -> PathBuf {
        self.shared(shared).unwrap_or_else(|| self.workspace.path(own))
    }

    /// Returns a path in [`SHARED`], if something is there.
    pub(crate) fn shared(&self, path: &str) -> Option<PathBuf> {
        Some(self.workspace.path(SHARED).join(path)).filter(|path| path.exists())
    }

    /// Returns a directory with random weights of a published shape, in bfloat16, and LLaMA's tokenizer where it is at hand
    /// (else the embedded model's): made unless it is there.
    pub(crate) fn random_model(&self, preset: &str) -> Result<PathBuf> {
        let dir = self.out.join(preset);
        if !dir.join("config.json").exists() {
            let mut make = self.program("pretrain");
            make.args(["--init_only", "--preset", preset, "--dtype", "bfloat16", "--device", "cpu"]);
            process::run_to_stderr(make.arg("--output_dir").arg(&dir))?;
        }
        if !dir.join("tokenizer.json").exists() {
            copy_tokenizer_files(&self.at_hand("models/stories15M-hf", "datasets/tiny-llama"), &dir)?;
        }
        Ok(dir)
    }
}

/// Runs a side of a bench and reads the last line that it printed.
pub(crate) fn ask<T: DeserializeOwned>(command: &mut Command) -> Result<T> {
    let text = process::capture(command)?;
    let line = text.lines().last().unwrap_or_default();
    serde_json::from_str(line)
        .with_context(|| format!("cannot read what a side of the bench printed: `{line}`"))
}

/// Removes a directory or a file, if it is there.
pub(crate) fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() {
        fs::remove_dir_all(path)
    } else if path.exists() {
        fs::remove_file(path)
    } else {
        return Ok(());
    };
    removed.with_context(|| format!("cannot remove `{}`", path.display()))
}
