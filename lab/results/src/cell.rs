//! One line of `results.jsonl`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One run of one variant. Numbers that were not measured are absent or null.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cell {
    /// Its name, unique in the experiment.
    pub cell: String,
    /// SHA-256 of programs, inputs and settings.
    pub key: String,
    /// Name of the variant.
    pub variant: String,
    /// Records it was trained on.
    pub size: Option<usize>,
    /// Seed it ran with.
    pub seed: Option<u64>,
    /// Repetition.
    pub repeat: usize,
    /// True if it ran to its end.
    pub ok: bool,
    /// The error message of a run that failed.
    pub error: Option<String>,
    /// Seconds it took in all.
    pub wall_s: f64,
    /// Numbers by name.
    pub metrics: BTreeMap<String, Option<f64>>,
    /// Curves by name.
    pub series: BTreeMap<String, Vec<(f64, Option<f64>)>>,
    /// Records with the answers to them.
    pub texts: Vec<Text>,
    /// Samples of distributions by name.
    pub samples: BTreeMap<String, Vec<Option<f64>>>,
}

impl Cell {
    /// Adds a number; one that is not finite is left out.
    pub fn put(&mut self, name: &str, value: impl Into<Option<f64>>) {
        if let Some(value) = value.into().filter(|value| value.is_finite()) {
            self.metrics.insert(name.to_owned(), Some(value));
        }
    }

    /// Returns a number that was measured and is finite.
    pub fn metric(&self, name: &str) -> Option<f64> {
        self.metrics.get(name).copied().flatten().filter(|value| value.is_finite())
    }

    /// Returns the finite points of a curve.
    pub fn curve(&self, name: &str) -> Vec<(f64, f64)> {
        let points = self.series.get(name).into_iter().flatten();
        points.filter_map(|&(x, y)| y.filter(|y| y.is_finite()).map(|y| (x, y))).collect()
    }

    /// Returns the finite numbers of a sample.
    pub fn sample(&self, name: &str) -> Vec<f64> {
        let values = self.samples.get(name).into_iter().flatten();
        values.copied().flatten().filter(|value| value.is_finite()).collect()
    }
}

/// One record and the answer to it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Text {
    /// Number or name of the record.
    pub id: Value,
    /// Its instruction.
    pub instruction: String,
    /// Its input; often empty.
    pub input: Option<String>,
    /// The reference answer.
    pub reference: Option<String>,
    /// The model's answer.
    pub answer: String,
}

impl Text {
    /// Returns `id` as text.
    pub fn key(&self) -> String {
        self.id.to_string()
    }

    /// Compares the answer with the reference, surrounding white space aside.
    pub fn is_exact(&self) -> Option<bool> {
        self.reference.as_ref().map(|reference| reference.trim() == self.answer.trim())
    }
}
