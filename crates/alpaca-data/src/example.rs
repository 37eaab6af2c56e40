//! Tokenised records.

use llama_tokenizer::LlamaTokenizer;
use nn_core::Sequence;

use crate::DataError;

/// Token ids and labels of one sequence. A `Vec` of examples is an [`nn_core::Dataset`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// Token ids, at most `cutoff_len`.
    pub input_ids: Vec<i64>,
    /// Labels, one for each token; [`nn_core::IGNORE_INDEX`] where nothing is learnt.
    pub labels: Vec<i64>,
}

impl Example {
    /// Tokenises a text, between BOS and EOS, every token of which is learnt.
    ///
    /// # Errors
    /// [`DataError::Tokenize`] when the text cannot be tokenised.
    pub fn text(tokenizer: &LlamaTokenizer, text: &str) -> Result<Self, DataError> {
        let mut ids =
            tokenizer.encode(text, true).map_err(|source| DataError::Tokenize { index: 0, source })?;
        ids.push(tokenizer.eos_id());
        Ok(Self { labels: ids.clone(), input_ids: ids })
    }
}

impl Sequence for Example {
    fn input_ids(&self) -> &[i64] {
        &self.input_ids
    }

    fn labels(&self) -> &[i64] {
        &self.labels
    }
}
