//! A comparison of two models: the logits of the same texts, and the greedy tokens behind the same prompts.

use infer::{GenerateConfig, InferError, greedy};
use llama_model::Llama;
use nn_core::{Mode, TokenBatch, TorchContext, all_finite};
use serde::Serialize;
use tch::{Device, Kind, Tensor, no_grad};

use crate::FinetuneError;

/// The outputs of one model that a comparison looks at.
#[derive(Debug)]
pub(crate) struct ModelOutputs {
    /// Logits of every position of each text, `[T, V]`, float32, on the CPU.
    logits: Vec<Tensor>,
    /// Greedy tokens behind each prompt.
    tokens: Vec<Vec<i64>>,
}

/// The distance between the outputs of two models for one text and its prompt.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Distance {
    /// Largest absolute difference of a logit at any position.
    pub max_logit_diff: f64,
    /// Kullback-Leibler divergence of the compared model's distribution from the reference's, mean over positions, in
    /// nats.
    pub kl: f64,
    /// Greedy tokens that were compared: those of the longer answer.
    pub tokens: usize,
    /// Greedy tokens that are equal at the same place.
    pub same_tokens: usize,
    /// First greedy token that differs, counted from 0.
    pub first_diverging_token: Option<usize>,
}

impl ModelOutputs {
    /// Runs `model` on token ids: `texts` are read for their logits, `prompts` are continued. The first `vocab_size`
    /// logits count, since a merge may have added rows for new tokens.
    ///
    /// # Errors
    /// [`FinetuneError`] when the model fails, or computes NaN or infinity.
    pub(crate) fn collect(
        model: &Llama,
        texts: &[Vec<i64>],
        prompts: &[Vec<i64>],
        config: &GenerateConfig,
        vocab_size: i64,
    ) -> Result<Self, FinetuneError> {
        let mut logits = Vec::with_capacity(texts.len());
        for ids in texts {
            let batch = TokenBatch::from_sequences([(ids.as_slice(), ids.as_slice())]);
            let all = no_grad(|| -> Result<Tensor, FinetuneError> {
                let hidden = model.hidden_states(&batch, Mode::Eval)?; // [T, C]
                let all = model.logits(&hidden)?.f_narrow(-1, 0, vocab_size).op("narrow")?; // [T, V]
                Ok(all.f_to_device(Device::Cpu).op("to_device")?)
            })?;
            if !all_finite(&all)? {
                return Err(InferError::not_finite(model).into());
            }
            logits.push(all);
        }
        Ok(Self { logits, tokens: greedy(model, prompts, config)? })
    }

    /// Compares each text and prompt with the same one of `reference`.
    ///
    /// # Errors
    /// [`FinetuneError`] when the shapes differ.
    pub(crate) fn distances(&self, reference: &Self) -> Result<Vec<Distance>, FinetuneError> {
        let texts = reference.logits.iter().zip(&self.logits);
        let answers = reference.tokens.iter().zip(&self.tokens);
        texts
            .zip(answers)
            .map(|((expected, actual), (theirs, ours))| {
                let (max_logit_diff, kl) = logit_distance(expected, actual)?;
                Ok(Distance {
                    max_logit_diff,
                    kl,
                    tokens: ours.len().max(theirs.len()),
                    same_tokens: ours.iter().zip(theirs).filter(|(a, b)| a == b).count(),
                    first_diverging_token: first_difference(theirs, ours),
                })
            })
            .collect()
    }

    /// Samples about `count` absolute differences of single logits, at even distances over all texts.
    ///
    /// # Errors
    /// [`FinetuneError`] when the shapes differ.
    pub(crate) fn sample_logit_diffs(
        &self,
        reference: &Self,
        count: usize,
    ) -> Result<Vec<f64>, FinetuneError> {
        let each = count.div_ceil(reference.logits.len().max(1)).max(1);
        let mut sampled = Vec::new();
        for (expected, actual) in reference.logits.iter().zip(&self.logits) {
            let diff = expected.f_sub(actual).op("sub")?.f_abs().op("abs")?.f_reshape([-1]).op("reshape")?;
            let total = diff.numel();
            let taken = each.min(total);
            let places: Vec<i64> = (0..taken).map(|i| (i * total / taken) as i64).collect();
            let places = Tensor::f_from_slice(&places).op("from_slice")?;
            let picked = diff.f_index_select(0, &places).op("index_select")?;
            let picked = picked.f_to_kind(Kind::Double).op("to_kind")?;
            sampled.extend(Vec::<f64>::try_from(&picked).op("read")?);
        }
        Ok(sampled)
    }
}

/// Computes the largest absolute difference of a logit, and the Kullback-Leibler divergence of `actual`'s distribution
/// from `expected`'s, mean over positions, in nats. Both are `[T, V]`.
fn logit_distance(expected: &Tensor, actual: &Tensor) -> Result<(f64, f64), FinetuneError> {
    no_grad(|| {
        let largest = expected.f_sub(actual).op("sub")?.f_abs().op("abs")?.f_max().op("max")?;
        let p = expected.f_log_softmax(-1, Kind::Double).op("log_softmax")?; // [T, V]
        let q = actual.f_log_softmax(-1, Kind::Double).op("log_softmax")?; // [T, V]
        let terms = p.f_exp().op("exp")?.f_mul(&p.f_sub(&q).op("sub")?).op("mul")?; // [T, V]
        let kl = terms.f_sum_dim_intlist(-1i64, false, Kind::Double).op("sum")?; // [T]
        let kl = kl.f_mean(Kind::Double).op("mean")?;
        Ok((f64::try_from(&largest).op("read")?, f64::try_from(&kl).op("read")?))
    })
}

/// Returns the first place at which two answers differ, counted from 0: another token, or the end of one of them.
fn first_difference(a: &[i64], b: &[i64]) -> Option<usize> {
    let differs = a.iter().zip(b).position(|(a, b)| a != b);
    differs.or_else(|| (a.len() != b.len()).then(|| a.len().min(b.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_ends_early_differs_where_it_ends() {
        assert_eq!(first_difference(&[1, 2, 3], &[1, 2, 3]), None);
        assert_eq!(first_difference(&[1, 2, 3], &[1, 5, 3]), Some(1));
        assert_eq!(first_difference(&[1, 2, 3], &[1, 2]), Some(2));
        assert_eq!(first_difference(&[], &[]), None);
    }

    #[test]
    fn a_shift_of_all_logits_changes_no_distribution() {
        let logits = Tensor::from_slice2(&[[0.5_f32, -1.0, 2.0], [0.0, 1.0, 0.25]]);
        let (largest, kl) = logit_distance(&logits, &(&logits + 3.0)).unwrap();
        assert!((largest - 3.0).abs() < 1e-6 && kl.abs() < 1e-9, "{largest} {kl}");
        let (_, kl) = logit_distance(&logits, &(&logits * 2.0)).unwrap();
        assert!(kl > 1e-2, "{kl}");
    }
}
