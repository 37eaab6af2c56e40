//! A run as it lies in its directory: settings, metrics, answers.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use trainer::{EvalRecord, StepRecord};

use crate::RunPageError;
use crate::samples::{self, Sample};

/// Longest files that are read.
const MOST_BYTES: u64 = 1 << 30;

/// Points of a curve on a page.
const MOST_POINTS: usize = 2000;

/// What becomes of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The base is being loaded.
    Loading,
    /// It learns.
    Running,
    /// It was asked to stop, and is saving.
    Stopping,
    /// All steps are done.
    Finished,
    /// It ended early, with a checkpoint to go on from.
    Stopped,
    /// It failed.
    Failed,
    /// Nobody knows: its directory does not tell.
    #[default]
    Unknown,
}

/// A run.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct RunRecord {
    /// Last part of its directory's path.
    pub name: String,
    /// Its directory.
    pub dir: String,
    /// Whether it goes on.
    pub state: State,
    /// Reason of a failure, or what to do next.
    pub message: Option<String>,
    /// Command line that began it.
    pub command: Option<String>,
    /// Settings of its `run.toml`, in order.
    pub settings: Vec<(String, String)>,
    /// Optimiser steps done.
    pub step: u64,
    /// Optimiser steps of the run, 0 while nobody knows.
    pub total_steps: u64,
    /// Seconds that the rest will take.
    pub left_s: Option<f64>,
    /// Lines of metrics of steps.
    pub steps: Vec<StepRecord>,
    /// Lines of metrics of evaluations.
    pub evals: Vec<EvalRecord>,
    /// Answers to the prompts that are asked at each evaluation.
    pub samples: Vec<Sample>,
    /// What the trainer told.
    pub notes: Vec<String>,
}

/// A line of metrics.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Step(StepRecord),
    Eval(EvalRecord),
}

impl RunRecord {
    /// Reads the run in the directory `dir`. A line that was cut off by a kill is left out.
    ///
    /// # Errors
    /// [`RunPageError::NoRun`] where there is none, [`RunPageError::Io`] for a file that cannot be read.
    pub fn read(dir: &Path) -> Result<Self, RunPageError> {
        let path = dir.join("metrics.jsonl");
        if !path.exists() {
            return Err(RunPageError::NoRun { dir: dir.to_owned() });
        }
        let text = read_text(&path)?;
        let mut run = Self { samples: samples::read(dir)?, ..Self::named(dir) };
        for line in text.lines() {
            match serde_json::from_str(line) {
                Ok(Line::Step(record)) => run.steps.push(record),
                Ok(Line::Eval(record)) => run.evals.push(record),
                Err(_) => {}
            }
        }
        let settings = dir.join("run.toml");
        if settings.exists() {
            run.settings = flat_settings(&read_text(&settings)?);
        }
        run.step = run.steps.last().map_or(0, |record| record.step);
        if dir.join("summary.json").exists() {
            run.state = State::Finished;
        }
        Ok(run)
    }

    /// A run of which nothing is known yet.
    pub(crate) fn named(dir: &Path) -> Self {
        let last = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
        let name = last.file_name().map_or_else(|| dir.to_string_lossy(), |name| name.to_string_lossy());
        Self { name: name.into_owned(), dir: dir.to_string_lossy().into_owned(), ..Self::default() }
    }

    /// Returns the losses of the logged steps.
    pub fn losses(&self) -> Vec<f64> {
        self.steps.iter().filter_map(|record| record.loss).collect()
    }

    /// Returns the evaluation with the lowest loss.
    pub fn best(&self) -> Option<&EvalRecord> {
        self.evals.iter().min_by(|one, other| one.eval_loss.total_cmp(&other.eval_loss))
    }

    /// Returns the tokens per second over the whole run, each line weighted by its tokens.
    pub fn tokens_per_s(&self) -> Option<f64> {
        let mut before = 0;
        let (mut tokens, mut seconds) = (0.0, 0.0);
        for record in &self.steps {
            let new = record.tokens.saturating_sub(std::mem::replace(&mut before, record.tokens)) as f64;
            if record.tokens_per_s > 0.0 {
                tokens += new;
                seconds += new / record.tokens_per_s;
            }
        }
        (seconds > 0.0).then(|| tokens / seconds)
    }

    /// Returns the run with fewer points, where it has more than a page shows.
    pub(crate) fn thinned(&self) -> Self {
        Self { steps: thinned(&self.steps), evals: thinned(&self.evals), ..self.clone() }
    }
}

/// Keeps every so many points, and the last.
fn thinned<T: Clone>(points: &[T]) -> Vec<T> {
    let every = points.len().div_ceil(MOST_POINTS).max(1);
    let last = points.len().saturating_sub(1);
    points
        .iter()
        .enumerate()
        .filter(|&(i, _)| i % every == 0 || i == last)
        .map(|(_, point)| point.clone())
        .collect()
}

fn read_text(path: &Path) -> Result<String, RunPageError> {
    let bytes = plain_files::read_bytes(path, MOST_BYTES).map_err(|source| RunPageError::Io {
        action: "read",
        path: path.to_owned(),
        source,
    })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Reads the settings of a `run.toml`, in its order, each as people write it.
pub(crate) fn flat_settings(text: &str) -> Vec<(String, String)> {
    let table: toml::Table = text.parse().unwrap_or_default();
    let place = |key: &str| {
        let start = format!("{key} =");
        text.lines().position(|line| line.starts_with(&start)).unwrap_or(usize::MAX)
    };
    let mut settings: Vec<(String, String)> =
        table.iter().map(|(key, value)| (key.clone(), shown(value))).collect();
    settings.sort_by_key(|(key, _)| place(key));
    settings
}

fn shown(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Array(values) => values.iter().map(shown).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// Returns the figures of runs as JSON, for people's own programs.
pub(crate) fn to_json(runs: &[RunRecord]) -> Value {
    let runs: Vec<RunRecord> = runs.iter().map(RunRecord::thinned).collect();
    serde_json::json!({ "runs": runs })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_keep_their_order_and_read_as_people_write_them() {
        let text = "seed = 1\nbase_model = \"a<b\"\nlora_target_modules = [\n    \"q\",\n    \"v\",\n]\nlearning_rate = 0.0003\n";
        let settings = flat_settings(text);
        let expected = [
            ("seed", "1"),
            ("base_model", "a<b"),
            ("lora_target_modules", "q, v"),
            ("learning_rate", "0.0003"),
        ];
        assert_eq!(settings, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }

    #[test]
    fn a_long_run_is_thinned_and_keeps_its_ends() {
        let points: Vec<usize> = (0..12_345).collect();
        let kept = thinned(&points);
        assert!(kept.len() <= MOST_POINTS + 1 && kept[0] == 0 && kept.last() == Some(&12_344));
        assert_eq!(thinned(&points[..100]).len(), 100);
    }
}
