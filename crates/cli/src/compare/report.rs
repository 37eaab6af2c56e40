//! The comparison as a table and as JSON.

use std::fmt::Write as _;

use llama_finetune::Distance;
use serde::Serialize;

/// The contents of `--json`.
#[derive(Debug, Serialize)]
pub(crate) struct Comparison {
    /// Precision that both models were computed in.
    computed_in: String,
    /// Fraction of the greedy tokens that are equal at the same place.
    token_agreement: f64,
    /// First greedy token that differs in any answer, counted from 0.
    first_diverging_token: Option<usize>,
    /// Largest difference of any logit at any position of any record.
    max_logit_diff: f64,
    /// Mean over records of the mean KL divergence over positions, in nats.
    mean_kl: f64,
    /// Absolute differences of single logits, spread over all of them.
    logit_diff: Vec<f64>,
    records: Vec<RecordComparison>,
}

/// One record.
#[derive(Debug, Serialize)]
pub(crate) struct RecordComparison {
    pub(crate) instruction: String,
    #[serde(flatten)]
    pub(crate) distance: Distance,
}

impl Comparison {
    /// Summarises the distances of all records.
    pub(crate) fn new(computed_in: String, records: Vec<RecordComparison>, logit_diff: Vec<f64>) -> Self {
        let distances = || records.iter().map(|record| &record.distance);
        let tokens = distances().map(|distance| distance.tokens).sum::<usize>() as f64;
        let same = distances().map(|distance| distance.same_tokens).sum::<usize>() as f64;
        Self {
            computed_in,
            token_agreement: if tokens > 0.0 { same / tokens } else { 1.0 },
            first_diverging_token: distances().filter_map(|distance| distance.first_diverging_token).min(),
            max_logit_diff: distances().map(|distance| distance.max_logit_diff).fold(0.0, f64::max),
            mean_kl: distances().map(|distance| distance.kl).sum::<f64>() / records.len().max(1) as f64,
            logit_diff,
            records,
        }
    }

    /// Returns two lines for people.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        let diverged =
            self.records.iter().filter(|record| record.distance.first_diverging_token.is_some()).count();
        let _ = writeln!(
            text,
            "{} records, computed in {}: {:.2} % of the greedy tokens are the same, {diverged} answers part{}",
            self.records.len(),
            self.computed_in,
            100.0 * self.token_agreement,
            self.first_diverging_token.map_or_else(String::new, |at| format!(", the first at token {at}"))
        );
        let _ = writeln!(
            text,
            "largest difference of a logit {:.3e}, mean KL {:.3e} nats",
            self.max_logit_diff, self.mean_kl
        );
        text
    }
}
