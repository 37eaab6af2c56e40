//! Greedy decoding.

use nn_core::{CausalLm, NnError, TorchContext};
use tch::{Device, Kind, Tensor};

use crate::{GenerateConfig, InferError};

/// Continues every prompt with its most probable token until an end token or `max_new_tokens`; returns the new tokens of
/// each, without the end token.
///
/// Prompts of a batch may differ in length; each gets what it would get alone, up to the rounding of larger products.
///
/// # Errors
/// [`InferError::EmptyPrompt`], or [`InferError::Model`] when a layer fails.
pub fn greedy(
    model: &dyn CausalLm,
    prompts: &[Vec<i64>],
    config: &GenerateConfig,
) -> Result<Vec<Vec<i64>>, InferError> {
    if let Some(index) = prompts.iter().position(Vec::is_empty) {
        return Err(InferError::EmptyPrompt { index });
    }
    let mut answers = vec![Vec::new(); prompts.len()];
    if prompts.is_empty() || config.max_new_tokens == 0 {
        return Ok(answers);
    }
    let longest = prompts.iter().map(Vec::len).max().unwrap_or(0);
    let mut session = model.open(prompts.len(), longest + config.max_new_tokens)?;
    let rows: Vec<(usize, &[i64])> = prompts.iter().map(Vec::as_slice).enumerate().collect();
    let mut logits = session.prefill(&rows)?;
    // A row that is finished goes on beside the others, unread, so that rows stay in order.
    let mut finished = vec![false; prompts.len()];
    for step in 1.. {
        let Best { ids: next, finite } = Best::of(&logits)?;
        // A row that is finished is not looked at any more.
        if finite.iter().zip(&finished).any(|(finite, finished)| !finite && !finished) {
            return Err(InferError::not_finite(model));
        }
        for ((answer, finished), &token) in answers.iter_mut().zip(&mut finished).zip(&next) {
            *finished |= config.eos_ids.contains(&token);
            if !*finished {
                answer.push(token);
            }
        }
        if step == config.max_new_tokens || finished.iter().all(|&finished| finished) {
            break;
        }
        let next: Vec<(usize, i64)> = next.into_iter().enumerate().collect();
        logits = session.step(&next)?;
    }
    Ok(answers)
}

/// The most probable token of each row of logits.
#[derive(Debug)]
pub(crate) struct Best {
    pub(crate) ids: Vec<i64>,
    /// False where a row holds NaN or infinity.
    pub(crate) finite: Vec<bool>,
}

impl Best {
    /// Looks at `logits`, `[B, V]`; waits for the device once.
    pub(crate) fn of(logits: &Tensor) -> Result<Self, NnError> {
        let ids = logits.f_argmax(-1, false).op("argmax")?.f_to_kind(Kind::Double).op("to_kind")?;
        // Finite logits of a whole vocabulary have a finite sum, unless each is near the end of float32.
        let sums = logits.f_sum_dim_intlist(-1i64, false, Kind::Float).op("sum")?;
        let sums = sums.f_to_kind(Kind::Double).op("to_kind")?;
        let both = Tensor::f_cat(&[ids, sums], 0).op("cat")?.f_to(Device::Cpu).op("to")?; // [2 B]
        let both = Vec::<f64>::try_from(&both).op("read")?;
        let (ids, sums) = both.split_at(both.len() / 2);
        let finite = sums.iter().map(|sum| sum.is_finite()).collect();
        Ok(Self { ids: ids.iter().map(|&id| id as i64).collect(), finite })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counter::{Broken, Counter};

    #[test]
    fn an_answer_ends_before_its_end_token_or_at_the_limit() {
        let config = GenerateConfig { max_new_tokens: 4, eos_ids: vec![7], ..GenerateConfig::default() };
        let answers = greedy(&Counter, &[vec![3, 4], vec![8], vec![6]], &config).unwrap();
        assert_eq!(answers, [vec![5, 6], vec![9, 0, 1, 2], vec![]]);
    }

    #[test]
    fn scores_that_are_no_numbers_end_an_answer() {
        let config = GenerateConfig { max_new_tokens: 4, ..GenerateConfig::default() };
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let error = greedy(&Broken(bad), &[vec![3, 4], vec![8]], &config).unwrap_err();
            let text = error.to_string();
            assert!(text.contains("NaN or infinity") && text.contains("`layer.weight`"), "{text}");
        }
    }

    #[test]
    fn an_empty_prompt_is_named() {
        let config = GenerateConfig::default();
        let error = greedy(&Counter, &[vec![1], vec![]], &config).unwrap_err();
        assert!(error.to_string().starts_with("prompt 1 "), "{error}");
    }
}
