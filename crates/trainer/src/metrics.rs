//! `metrics.jsonl`: one JSON object for each logged step and each evaluation.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::TrainError;
use crate::error::IoContext;

/// Figures since the line before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Optimiser steps done.
    pub step: u64,
    /// Epochs done, with their fraction.
    pub epoch: f64,
    /// Mean of the steps' losses, as transformers logs it; none if no step had a target.
    pub loss: Option<f64>,
    /// Learning rate of the last step.
    pub learning_rate: f64,
    /// Global gradient norm of the last step with a target, before clipping.
    pub grad_norm: Option<f64>,
    /// Tokens since the start of the run.
    pub tokens: u64,
    /// Tokens per second of training; evaluation and saving are not counted.
    pub tokens_per_s: f64,
    /// Seconds since the start of the run, interruptions left out.
    pub elapsed_s: f64,
    /// Memory in MiB: the most that tensors held at a time on a CUDA device, on several together, else what is resident of the process.
    pub memory_mib: u64,
    /// Steps since the start of the run that had no target and changed nothing.
    pub skipped_steps: u64,
}

/// The result of an evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvalRecord {
    /// Optimiser steps done.
    pub step: u64,
    /// Epochs done, with their fraction.
    pub epoch: f64,
    /// Mean cross-entropy over the validation targets; null when not finite.
    pub eval_loss: f64,
    /// Seconds the evaluation took.
    pub eval_s: f64,
    /// Seconds since the start of the run, interruptions left out.
    pub elapsed_s: f64,
}

/// The lines that a checkpoint covers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeepUpTo {
    /// Steps done in the checkpoint.
    pub(crate) step: u64,
    /// Set when the evaluation after that step belongs to it.
    pub(crate) evaluated: bool,
}

impl KeepUpTo {
    /// Tells whether the checkpoint covers a line; none where it cannot be read.
    fn keeps(self, line: &[u8]) -> Option<bool> {
        #[derive(Deserialize)]
        struct Head {
            step: u64,
            // Present but null for a loss that is not finite.
            #[serde(default, deserialize_with = "present")]
            eval_loss: bool,
        }
        fn present<'de, D: serde::Deserializer<'de>>(value: D) -> Result<bool, D::Error> {
            serde::de::IgnoredAny::deserialize(value).map(|_| true)
        }
        let head = serde_json::from_slice::<Head>(line).ok()?;
        Some(head.step < self.step || (head.step == self.step && (self.evaluated || !head.eval_loss)))
    }
}

/// Longest file of metrics that is read: a line for each of some five million steps.
const MOST_BYTES: u64 = 1 << 30;

/// The open `metrics.jsonl`. Every line is handed to the system at once, so a killed process loses at most half a line.
#[derive(Debug)]
pub(crate) struct MetricsFile {
    path: PathBuf,
    file: File,
}

impl MetricsFile {
    /// Starts an empty file, or, for a resumed run, one with the lines that belong to the checkpoint: in the end the file
    /// reads as if the run had never been interrupted. Returns the number of lines left out because they cannot be read;
    /// the last one does not count, which a process may have been writing when it was killed.
    pub(crate) fn open(path: PathBuf, keep: Option<KeepUpTo>) -> Result<(Self, usize), TrainError> {
        let old = match plain_files::read_bytes(&path, MOST_BYTES) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error).at("read", &path),
        };
        let (mut kept, mut unreadable) = (Vec::new(), 0);
        for line in old.split_inclusive(|&byte| byte == b'\n').take_while(|_| keep.is_some()) {
            match keep.and_then(|keep| keep.keeps(line)) {
                Some(true) => kept.extend_from_slice(line),
                Some(false) => {}
                None => unreadable += usize::from(line.ends_with(b"\n")),
            }
        }
        weights::atomic_write(&path, |file| file.write_all(&kept))?;
        let file = OpenOptions::new().append(true).open(&path).at("open", &path)?;
        Ok((Self { path, file }, unreadable))
    }

    /// Adds a line.
    pub(crate) fn append(&mut self, record: &impl Serialize) -> Result<(), TrainError> {
        let line = serde_json::to_string(record).map_err(std::io::Error::from).at("write", &self.path)?;
        self.file.write_all(format!("{line}\n").as_bytes()).at("write", &self.path)
    }

    /// Waits until the lines are on the disk.
    pub(crate) fn sync(&self) -> Result<(), TrainError> {
        self.file.sync_data().at("write", &self.path)
    }

    /// Returns the path of `metrics.jsonl`.
    pub(crate) fn path_in(output_dir: &Path) -> PathBuf {
        output_dir.join("metrics.jsonl")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_pipe_in_place_of_the_file_is_named_and_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = MetricsFile::path_in(dir.path());
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let error = MetricsFile::open(path, None).unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("a named pipe"), "{cause}");
    }
}
