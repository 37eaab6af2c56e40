//! The scores as a table and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use llama_finetune::{Evaluation, Sample, Score};
use serde::Serialize;

/// The contents of `--json`.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    exact_match: f64,
    correct: usize,
    total: usize,
    /// Mean ROUGE-L, 0 to 1.
    rouge_l: f64,
    /// Perplexity of the reference answers, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    perplexity: Option<f64>,
    /// Seconds of loading, adapter included.
    load_s: f64,
    peak_host_mib: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_device_mib: Option<u64>,
    kinds: BTreeMap<String, Score>,
    samples: Vec<Sample>,
}

/// The resources that a run took.
#[derive(Debug)]
pub(crate) struct Resources {
    pub(crate) load_s: f64,
    pub(crate) peak_host_mib: u64,
    pub(crate) peak_device_mib: Option<u64>,
}

impl Report {
    pub(crate) fn new(evaluation: Evaluation, perplexity: Option<f64>, resources: &Resources) -> Self {
        let Evaluation { exact_match, rouge_l, kinds, samples } = evaluation;
        let Resources { load_s, peak_host_mib, peak_device_mib } = *resources;
        Self {
            exact_match: exact_match.fraction(),
            correct: exact_match.correct,
            total: exact_match.total,
            rouge_l,
            perplexity,
            load_s,
            peak_host_mib,
            peak_device_mib,
            kinds,
            samples,
        }
    }

    /// Returns the scores, and the first `show` answers.
    pub(crate) fn table(&self, show: usize) -> String {
        let mut text = String::new();
        let mut line = |name: &str, score: Score| {
            let percent = 100.0 * score.fraction();
            let _ = writeln!(text, "{name:<24}{:>5} of {:<5}{percent:>6.1} %", score.correct, score.total);
        };
        for (kind, &score) in &self.kinds {
            line(kind, score);
        }
        line("exact match", Score { correct: self.correct, total: self.total });
        let _ = writeln!(text, "{:<24}{:>20.1} %", "ROUGE-L", 100.0 * self.rouge_l);
        if let Some(perplexity) = self.perplexity {
            let _ = writeln!(text, "{:<24}{perplexity:>21.4}", "perplexity");
        }
        for sample in self.samples.iter().take(show) {
            let input = if sample.input.is_empty() { String::new() } else { format!(" [{}]", sample.input) };
            let Sample { instruction, expected, answer, .. } = sample;
            let _ = writeln!(text, "\n{instruction}{input}\n  expected: {expected}\n  answer:   {answer}");
        }
        text
    }
}
