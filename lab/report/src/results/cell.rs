//! One line of `results.jsonl`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// One run of one variant.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Cell {
    /// Its name.
    pub cell: String,
    /// Name of the variant.
    pub variant: String,
    /// Records it was trained on.
    pub size: Option<u64>,
    /// Seed it ran with.
    pub seed: Option<u64>,
    /// Which repetition.
    pub repeat: u64,
    /// Whether it ran to its end.
    pub ok: bool,
    /// Why not.
    pub error: Option<String>,
    /// How long it took in all.
    pub wall_s: Option<f64>,
    /// Numbers by name; null where there is none.
    pub metrics: BTreeMap<String, Option<f64>>,
    /// Curves by name.
    pub series: BTreeMap<String, Vec<(f64, Option<f64>)>>,
    /// What it answered.
    pub texts: Vec<Text>,
    /// Samples of distributions by name.
    pub samples: BTreeMap<String, Vec<Option<f64>>>,
}

impl Cell {
    /// A number that was measured and is one.
    pub fn metric(&self, name: &str) -> Option<f64> {
        self.metrics.get(name).copied().flatten().filter(|value| value.is_finite())
    }

    /// The finite points of a curve.
    pub fn curve(&self, name: &str) -> Vec<(f64, f64)> {
        let points = self.series.get(name).into_iter().flatten();
        points.filter_map(|&(x, y)| y.filter(|y| y.is_finite()).map(|y| (x, y))).collect()
    }

    /// The finite numbers of a sample.
    pub fn sample(&self, name: &str) -> Vec<f64> {
        let values = self.samples.get(name).into_iter().flatten();
        values.copied().flatten().filter(|value| value.is_finite()).collect()
    }
}

/// One record and its answer.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Text {
    /// Tells records apart: a number or a word.
    pub id: Value,
    /// What was asked.
    pub instruction: String,
    /// What it was asked about; often empty.
    pub input: Option<String>,
    /// What the data say.
    pub reference: Option<String>,
    /// What the model said.
    pub answer: String,
}

impl Text {
    /// What tells it apart, as text.
    pub fn key(&self) -> String {
        self.id.to_string()
    }

    /// Whether the answer is that of the data, but for white space around it.
    pub fn is_exact(&self) -> Option<bool> {
        self.reference.as_ref().map(|reference| reference.trim() == self.answer.trim())
    }
}
