//! Settings of a generation.

use nn_core::mix_seed;

use crate::InferError;

/// Sampling of the next token. The default is greedy: the most probable token.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplingConfig {
    /// Draw at random instead of taking the best. Temperature, top-k, top-p and min-p only count then, as in
    /// transformers.
    pub do_sample: bool,
    /// Logits are divided by it; 1 changes nothing.
    pub temperature: f64,
    /// Top-k sampling: draws from the `top_k` best tokens and those that tie with the last of them; 0 is off.
    pub top_k: usize,
    /// Nucleus (top-p) sampling: draws from the smallest set of tokens whose probabilities add up to this; 1 is off.
    pub top_p: f64,
    /// Min-p sampling: draws from tokens of at least this part of the best one's probability; 0 is off.
    pub min_p: f64,
    /// Repetition penalty on tokens that the prompt or the text holds already; 1 is off.
    pub repetition_penalty: f64,
    /// Beams of beam search; 1 is no beam search.
    pub num_beams: usize,
    /// A finished beam's score is divided by its length in tokens to this power.
    pub length_penalty: f64,
    /// Beam search ends as soon as `num_beams` texts are finished, not when no better one is to be expected.
    pub early_stopping: bool,
    /// Seed of the draws. What is drawn depends on it and on the text so far, on nothing else.
    pub seed: u64,
}

impl Default for SamplingConfig {
    fn default() -> Self {
        Self {
            do_sample: false,
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            num_beams: 1,
            length_penalty: 1.0,
            early_stopping: false,
            seed: 0,
        }
    }
}

/// Settings of a generation: length, ends and sampling.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerateConfig {
    /// The most tokens to add to a prompt. Default 128, as alpaca-lora's `generate.py` has it.
    pub max_new_tokens: usize,
    /// Tokens that end an answer; they are not part of it.
    pub eos_ids: Vec<i64>,
    /// Strings that end an answer; its text ends before the first of them.
    pub stop: Vec<String>,
    /// Choice of tokens.
    pub sampling: SamplingConfig,
    /// Decode the answer behind the prompt's text: a first word keeps the space before it, which a text of its own
    /// begins without.
    pub continues_prompt: bool,
    /// Give the log-probability of each token, and this many of the most probable ones in its place.
    pub logprobs: Option<usize>,
    /// Give them for the prompt's tokens too.
    pub prompt_logprobs: bool,
}

impl Default for GenerateConfig {
    fn default() -> Self {
        Self {
            max_new_tokens: 128,
            eos_ids: Vec::new(),
            stop: Vec::new(),
            sampling: SamplingConfig::default(),
            continues_prompt: false,
            logprobs: None,
            prompt_logprobs: false,
        }
    }
}

impl SamplingConfig {
    /// Returns the settings of answer `index` of several that are asked for together: the first draws as if it were alone,
    /// the others from streams of their own, all decided by the seed.
    #[must_use]
    pub fn of_answer(&self, index: usize) -> Self {
        let seed = if index == 0 { self.seed } else { mix_seed(self.seed, index as u64) };
        Self { seed, ..self.clone() }
    }
}

impl GenerateConfig {
    /// Checks every value by itself.
    ///
    /// # Errors
    /// [`InferError::Setting`] with the first that is out of its range.
    pub fn validate(&self) -> Result<(), InferError> {
        let SamplingConfig {
            temperature,
            top_p,
            min_p,
            repetition_penalty,
            num_beams,
            length_penalty,
            do_sample: _,
            top_k: _,
            early_stopping: _,
            seed: _,
        } = self.sampling;
        let positive = |value: f64| value > 0.0 && value.is_finite();
        let checks = [
            ("temperature", temperature, positive(temperature), "above 0"),
            ("top_p", top_p, top_p > 0.0 && top_p <= 1.0, "above 0 and at most 1"),
            ("min_p", min_p, (0.0..=1.0).contains(&min_p), "from 0 to 1"),
            ("repetition_penalty", repetition_penalty, positive(repetition_penalty), "above 0"),
            ("num_beams", num_beams as f64, num_beams > 0, "at least 1"),
            ("length_penalty", length_penalty, length_penalty.is_finite(), "a finite number"),
        ];
        for (name, actual, holds, expected) in checks {
            if !holds {
                return Err(InferError::Setting { name, actual, expected });
            }
        }
        if (self.logprobs.is_some() || self.prompt_logprobs) && num_beams > 1 {
            let expected = "1 where log-probabilities are asked for";
            return Err(InferError::Setting { name: "num_beams", actual: num_beams as f64, expected });
        }
        Ok(())
    }

    /// Returns the rows of a session that a request needs.
    pub(crate) fn rows(&self) -> usize {
        self.sampling.num_beams.max(1)
    }
}
