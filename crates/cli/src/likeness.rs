//! How alike two models are: the same prompts, the same greedy search, logits beside logits.

use anyhow::Result;
use infer::{GenerateConfig, greedy};
use llama_model::Llama;
use nn_core::{Mode, TokenBatch};
use tch::{Device, Kind, Tensor, no_grad};

/// What a model says to every prompt.
#[derive(Debug)]
pub struct Said {
    /// Logits of every position of a prompt, `[T, V]`, float32, on the CPU.
    pub logits: Vec<Tensor>,
    /// Greedy tokens behind it.
    pub tokens: Vec<Vec<i64>>,
}

impl Said {
    /// Asks `model`. `read` is what logits are taken of, `prompts` what is continued; the first `vocab_size` logits
    /// count, since a merge may have added rows for new tokens.
    ///
    /// # Errors
    /// When the model fails.
    pub fn by(
        model: &Llama,
        read: &[Vec<i64>],
        prompts: &[Vec<i64>],
        config: &GenerateConfig,
        vocab_size: i64,
    ) -> Result<Self> {
        let mut logits = Vec::with_capacity(read.len());
        for ids in read {
            let batch = TokenBatch::from_sequences([(ids.as_slice(), ids.as_slice())]);
            let all = no_grad(|| -> Result<Tensor> {
                let hidden = model.hidden_states(&batch, Mode::Eval)?; // [T, C]
                let all = model.logits(&hidden)?.to_kind(Kind::Float).narrow(-1, 0, vocab_size); // [T, V]
                Ok(all.to_device(Device::Cpu))
            })?;
            logits.push(all);
        }
        Ok(Self { logits, tokens: greedy(model, prompts, config)? })
    }
}

/// The largest difference of any logit at any position, and the Kullback-Leibler divergence of `actual`'s distribution from
/// `expected`'s, mean over positions, in nats. Both are `[T, V]`.
pub fn distance(expected: &Tensor, actual: &Tensor) -> (f64, f64) {
    no_grad(|| {
        let largest = (expected - actual).abs().max().double_value(&[]);
        let (p, q) = (expected.log_softmax(-1, Kind::Double), actual.log_softmax(-1, Kind::Double));
        let kl = (p.exp() * (&p - &q)).sum_dim_intlist(-1i64, false, Kind::Double).mean(Kind::Double);
        (largest, kl.double_value(&[]))
    })
}

/// The first place at which two answers part, counted from 0: a token that differs, or the end of one of them.
pub fn first_difference(a: &[i64], b: &[i64]) -> Option<usize> {
    let differs = a.iter().zip(b).position(|(a, b)| a != b);
    differs.or_else(|| (a.len() != b.len()).then(|| a.len().min(b.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_ends_early_parts_where_it_ends() {
        assert_eq!(first_difference(&[1, 2, 3], &[1, 2, 3]), None);
        assert_eq!(first_difference(&[1, 2, 3], &[1, 5, 3]), Some(1));
        assert_eq!(first_difference(&[1, 2, 3], &[1, 2]), Some(2));
        assert_eq!(first_difference(&[], &[]), None);
    }

    #[test]
    fn a_shift_of_all_logits_moves_no_distribution() {
        let logits = Tensor::from_slice2(&[[0.5_f32, -1.0, 2.0], [0.0, 1.0, 0.25]]);
        let (largest, kl) = distance(&logits, &(&logits + 3.0));
        assert!((largest - 3.0).abs() < 1e-6 && kl.abs() < 1e-9, "{largest} {kl}");
        let (_, kl) = distance(&logits, &(&logits * 2.0));
        assert!(kl > 1e-2, "{kl}");
    }
}
