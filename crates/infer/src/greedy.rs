//! Greedy decoding.

use nn_core::{CausalLm, TorchContext};
use tch::Tensor;

use crate::InferError;

/// When a generation ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenerateConfig {
    /// The most tokens to add to a prompt.
    pub max_new_tokens: usize,
    /// Tokens that end an answer; they are not part of it.
    pub eos_ids: Vec<i64>,
}

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
    let mut finished = vec![false; prompts.len()];
    let (mut session, mut logits) = model.prefill(prompts, config.max_new_tokens)?;
    for step in 1.. {
        let next = most_probable(&logits)?;
        for ((answer, finished), &token) in answers.iter_mut().zip(&mut finished).zip(&next) {
            *finished |= config.eos_ids.contains(&token);
            if !*finished {
                answer.push(token);
            }
        }
        if step == config.max_new_tokens || finished.iter().all(|&finished| finished) {
            break;
        }
        logits = session.step(&next)?;
    }
    Ok(answers)
}

/// `[B, V]` to the index of the largest of each row.
fn most_probable(logits: &Tensor) -> Result<Vec<i64>, InferError> {
    let ids = logits.f_argmax(-1, false).op("argmax")?.f_to(tch::Device::Cpu).op("to")?;
    Ok(Vec::<i64>::try_from(&ids).op("read")?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nn_core::{DecodeSession, NnError};

    /// Counts up from the last token of each prompt; 9 is followed by 0.
    struct Counter;
    struct Counting;

    fn one_hot(last: &[i64]) -> Tensor {
        let rows = last.len() as i64;
        let next: Vec<i64> = last.iter().map(|id| (id + 1) % 10).collect();
        Tensor::zeros([rows, 10], tch::kind::FLOAT_CPU).scatter_value(
            1,
            &Tensor::from_slice(&next).view([rows, 1]),
            1.0,
        )
    }

    impl CausalLm for Counter {
        fn prefill<'a>(
            &'a self,
            prompts: &[Vec<i64>],
            _: usize,
        ) -> Result<(Box<dyn DecodeSession + 'a>, Tensor), NnError> {
            let last: Vec<i64> = prompts.iter().map(|prompt| prompt[prompt.len() - 1]).collect();
            Ok((Box::new(Counting), one_hot(&last)))
        }
    }

    impl DecodeSession for Counting {
        fn step(&mut self, next: &[i64]) -> Result<Tensor, NnError> {
            Ok(one_hot(next))
        }
    }

    #[test]
    fn an_answer_ends_before_its_end_token_or_at_the_limit() {
        let config = GenerateConfig { max_new_tokens: 4, eos_ids: vec![7] };
        let answers = greedy(&Counter, &[vec![3, 4], vec![8], vec![6]], &config).unwrap();
        assert_eq!(answers, [vec![5, 6], vec![9, 0, 1, 2], vec![]]);
    }

    #[test]
    fn an_empty_prompt_is_named() {
        let config = GenerateConfig { max_new_tokens: 4, eos_ids: vec![] };
        let error = greedy(&Counter, &[vec![1], vec![]], &config).unwrap_err();
        assert!(error.to_string().starts_with("prompt 1 "), "{error}");
    }
}
