//! Answers to a few fixed prompts, asked again at each evaluation: `samples.jsonl`.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::RunPageError;

const FILE: &str = "samples.jsonl";
const MOST_BYTES: u64 = 1 << 28;

/// A prompt as the model reads it, and the answer of its record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SamplePrompt {
    /// Text before the answer, template included.
    pub prompt: String,
    /// Answer of the record.
    pub reference: String,
}

/// An answer at one time of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Optimiser steps done.
    pub step: u64,
    /// The prompt and its reference.
    #[serde(flatten)]
    pub prompt: SamplePrompt,
    /// Answer of the model.
    pub answer: String,
}

/// Answers all prompts, or says why there are no answers.
pub type Answer<'a> = dyn Fn() -> Result<Vec<String>, String> + 'a;

/// The prompts, and the model that answers them.
pub struct Sampler<'a> {
    /// Prompts, the same at each time.
    pub prompts: Vec<SamplePrompt>,
    /// Answers to them, in their order.
    pub answer: &'a Answer<'a>,
}

impl Sampler<'_> {
    /// Asks all prompts.
    pub(crate) fn ask(&self, step: u64) -> Result<Vec<Sample>, String> {
        let answers = (self.answer)()?;
        let sample =
            |(prompt, answer): (&SamplePrompt, String)| Sample { step, prompt: prompt.clone(), answer };
        Ok(self.prompts.iter().zip(answers).map(sample).collect())
    }
}

/// Reads the answers in `dir`; none where there is no file of them.
pub(crate) fn read(dir: &Path) -> Result<Vec<Sample>, RunPageError> {
    let path = dir.join(FILE);
    match plain_files::read_bytes(&path, MOST_BYTES) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(RunPageError::Io { action: "read", path, source }),
    }
}

/// Adds answers to the file in `dir`.
pub(crate) fn append(dir: &Path, samples: &[Sample]) -> Result<(), RunPageError> {
    let path = dir.join(FILE);
    let mut options = OpenOptions::new();
    let file = options.append(true).create(true).open(&path);
    file.and_then(|mut file| file.write_all(lines(samples).as_bytes())).map_err(|source| RunPageError::Io {
        action: "write",
        path,
        source,
    })
}

/// Leaves in the file those answers that a run resumed after `step` has given.
pub(crate) fn keep_up_to(dir: &Path, step: u64) -> Result<Vec<Sample>, RunPageError> {
    let mut samples = read(dir)?;
    if samples.iter().any(|sample| sample.step > step) {
        samples.retain(|sample| sample.step <= step);
        weights::atomic_write(&dir.join(FILE), |file| file.write_all(lines(&samples).as_bytes()))?;
    }
    Ok(samples)
}

fn lines(samples: &[Sample]) -> String {
    let lines = samples.iter().filter_map(|sample| serde_json::to_string(sample).ok());
    lines.map(|line| line + "\n").collect()
}
