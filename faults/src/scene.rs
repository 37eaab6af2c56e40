//! Programs under test, and what they leave.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::preload::Preload;

/// The scratch directory, the programs and the embedded model.
#[derive(Debug)]
pub(crate) struct Scene {
    dir: tempfile::TempDir,
    bin: PathBuf,
    root: PathBuf,
    pub(crate) preload: Preload,
}

/// A program that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// None where a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stderr: String,
}

/// A run's results: the adapter's bytes, and the lines of metrics without what a clock or the memory says.
#[derive(Debug, PartialEq)]
pub(crate) struct Results {
    pub(crate) adapter: Vec<u8>,
    pub(crate) metrics: Vec<Value>,
}

impl Scene {
    pub(crate) fn new(bin: PathBuf, root: PathBuf) -> Result<Self> {
        let dir = tempfile::tempdir().context("cannot make a scratch directory")?;
        let preload = Preload::build(dir.path())?;
        Ok(Self { dir, bin, root, preload })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn base(&self) -> PathBuf {
        self.root.join("datasets/tiny-llama")
    }

    pub(crate) fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.bin.join(name));
        command
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command.envs([("OMP_NUM_THREADS", "1"), ("RAYON_NUM_THREADS", "1"), ("NO_COLOR", "1")]);
        command
    }

    /// Makes a short run into `out` that resumes what it finds there.
    pub(crate) fn finetune(&self, out: &str) -> Command {
        self.finetune_from(out, "latest")
    }

    /// Makes a short run into `out`: ten steps, a checkpoint every second, an evaluation every third.
    pub(crate) fn finetune_from(&self, out: &str, checkpoint: &str) -> Command {
        let mut command = self.program("finetune");
        command
            .arg("--base_model")
            .arg(self.base())
            .arg("--data_path")
            .arg(self.root.join("datasets/mini_data.json"));
        command.args(["--output_dir", out, "--resume_from_checkpoint", checkpoint]);
        command.args(
            "--batch_size 2 --micro_batch_size 1 --max_steps 10 --val_set_size 2 --cutoff_len 64".split(' '),
        );
        command
            .args("--save_steps 2 --eval_steps 3 --logging_steps 1 --warmup_steps 2 --lora_r 2".split(' '));
        command.args("--lora_dropout 0.05 --threads 1 --device cpu --save_total_limit 3".split(' '));
        command
    }

    /// Reads what a finished run left, and checks that nothing half-done is beside it.
    pub(crate) fn results(&self, out: &str) -> Result<Results> {
        let dir = self.path(out);
        let hidden: Vec<String> = names(&dir)?.into_iter().filter(|name| name.starts_with('.')).collect();
        ensure!(hidden.is_empty(), "half-done work is left: {hidden:?}");
        let text = fs::read_to_string(dir.join("metrics.jsonl")).context("no metrics")?;
        let metrics = text.lines().map(|line| {
            let mut line: Value =
                serde_json::from_str(line).with_context(|| format!("a line of metrics: {line}"))?;
            for name in ["tokens_per_s", "elapsed_s", "eval_s", "memory_mib"] {
                line.as_object_mut().map(|fields| fields.remove(name));
            }
            Ok(line)
        });
        let metrics = metrics.collect::<Result<_>>()?;
        let adapter = fs::read(dir.join("adapter_model.safetensors")).context("no adapter")?;
        Ok(Results { adapter, metrics })
    }

    /// Returns the step of the newest checkpoint, after holding every file of every checkpoint against its digest: a
    /// directory of that name is whole, whatever happened.
    pub(crate) fn last_step(&self, out: &str) -> Result<u64> {
        Ok(self.checkpoints(out)?.last_key_value().map_or(0, |(step, _)| *step))
    }

    pub(crate) fn checkpoints(&self, out: &str) -> Result<BTreeMap<u64, PathBuf>> {
        let dir = self.path(out);
        let mut found = BTreeMap::new();
        for name in names(&dir)? {
            if let Some(step) = name.strip_prefix("checkpoint-") {
                check_digests(&dir.join(&name))?;
                found.insert(step.parse().with_context(|| name.clone())?, dir.join(&name));
            }
        }
        Ok(found)
    }
}

/// Waits for the end of a program.
pub(crate) fn end(child: Child) -> Result<Ended> {
    let output = child.wait_with_output()?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok(Ended { code: output.status.code(), stderr })
}

pub(crate) fn run(command: &mut Command) -> Result<Ended> {
    end(command.spawn().with_context(|| format!("cannot run `{}`", command.get_program().display()))?)
}

impl Ended {
    pub(crate) fn ok(self) -> Result<Self> {
        ensure!(self.code == Some(0), "ended with {:?}: {}", self.code, self.stderr);
        Ok(self)
    }

    /// Checks that a program that a fault ended says so: in one last line, and without a panic.
    pub(crate) fn says_so(&self) -> Result<()> {
        ensure!(!self.stderr.contains("panicked"), "panicked: {}", self.stderr);
        let last = self.stderr.lines().last().unwrap_or_default();
        match self.code {
            None | Some(0) => Ok(()),
            // 2 where it is an input that cannot be read.
            Some(1 | 2) if last.starts_with("error: ") => Ok(()),
            code => bail!("ended with {code:?} and `{last}`"),
        }
    }

    /// Returns the first step that a run took.
    pub(crate) fn first_step(&self) -> Option<u64> {
        let line = self.stderr.lines().find_map(|line| line.strip_prefix("step "))?;
        line.split_once('/')?.0.parse().ok()
    }
}

pub(crate) fn names(dir: &Path) -> Result<Vec<String>> {
    if !dir.exists() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names = entries.collect::<Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

/// Holds a checkpoint against its list, by code that is not the programs' own.
fn check_digests(checkpoint: &Path) -> Result<()> {
    let list = fs::read_to_string(checkpoint.join("B3SUMS"))
        .with_context(|| format!("`{}` has no list of digests", checkpoint.display()))?;
    let mut listed = Vec::new();
    for line in list.lines() {
        let (digest, name) = line.split_once("  ").context("a line of B3SUMS")?;
        let bytes = fs::read(checkpoint.join(name))
            .with_context(|| format!("no {name} in {}", checkpoint.display()))?;
        ensure!(
            blake3::hash(&bytes).to_hex().as_str() == digest,
            "{name} of {} is damaged",
            checkpoint.display()
        );
        listed.push(name.to_owned());
    }
    for part in
        ["adapter_config.json", "adapter_model.safetensors", "optimizer.safetensors", "trainer_state.json"]
    {
        ensure!(listed.iter().any(|name| name == part), "{part} of {} is not listed", checkpoint.display());
    }
    Ok(())
}

/// Copies a directory.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for name in names(from)? {
        let (from, to) = (from.join(&name), to.join(&name));
        if from.is_dir() { copy(&from, &to)? } else { fs::copy(&from, &to).map(|_| ())? }
    }
    Ok(())
}
