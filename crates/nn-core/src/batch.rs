//! Batches of token sequences.

use crate::NnError;

/// The label of a position that does not count in the loss (PyTorch's `ignore_index`).
pub const IGNORE_INDEX: i64 = -100;

/// Token sequences one after another, without padding.
///
/// Padding would be computed and thrown away; the model instead keeps sequences apart in attention and in positions, so
/// a batch costs what its real tokens cost. `labels[i]` belongs to `input_ids[i]`, as in transformers: the loss compares
/// the prediction made at `i` with the label at `i + 1` of the same sequence.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TokenBatch {
    /// Token ids, `[N]`.
    pub input_ids: Vec<i64>,
    /// Labels, `[N]`; [`IGNORE_INDEX`] where nothing is to be learnt.
    pub labels: Vec<i64>,
    /// Length of each sequence in tokens; they add up to `N`.
    pub seq_lens: Vec<usize>,
}

impl TokenBatch {
    /// Makes a batch of sequences of (ids, labels).
    pub fn from_sequences<'a>(sequences: impl IntoIterator<Item = (&'a [i64], &'a [i64])>) -> Self {
        let mut batch = Self::default();
        for (ids, labels) in sequences {
            batch.input_ids.extend_from_slice(ids);
            batch.labels.extend_from_slice(labels);
            batch.seq_lens.push(ids.len());
        }
        batch
    }

    /// Returns the batch of some of its sequences.
    #[must_use]
    pub fn select(&self, sequences: &[usize]) -> Self {
        let ends = self.seq_lens.iter().scan(0, |end, len| {
            *end += len;
            Some(*end)
        });
        let ends: Vec<usize> = ends.collect();
        let tokens = |&index: &usize| ends[index] - self.seq_lens[index]..ends[index];
        Self::from_sequences(
            sequences.iter().map(tokens).map(|part| (&self.input_ids[part.clone()], &self.labels[part])),
        )
    }

    /// Returns the number of tokens `N`.
    pub fn num_tokens(&self) -> usize {
        self.input_ids.len()
    }

    /// Returns the positions whose prediction is compared with a label, and that label: every `i` whose successor in the same
    /// sequence has one.
    pub fn targets(&self) -> (Vec<i64>, Vec<i64>) {
        let mut positions = Vec::new();
        let mut labels = Vec::new();
        let mut start = 0;
        for &len in &self.seq_lens {
            for i in start..(start + len).saturating_sub(1) {
                if self.labels[i + 1] != IGNORE_INDEX {
                    positions.push(i as i64);
                    labels.push(self.labels[i + 1]);
                }
            }
            start += len;
        }
        (positions, labels)
    }

    /// Returns the number of label tokens that count in the loss.
    pub fn num_targets(&self) -> usize {
        self.targets().0.len()
    }

    /// Returns the position of every token in its sequence, `[N]`.
    pub fn positions(&self) -> Vec<i64> {
        self.seq_lens.iter().flat_map(|&len| 0..len as i64).collect()
    }

    /// Checks that ids, labels and lengths fit each other.
    ///
    /// # Errors
    /// [`NnError::Batch`] when they do not.
    pub fn validate(&self) -> Result<(), NnError> {
        let (tokens, labels) = (self.input_ids.len(), self.labels.len());
        let in_sequences = self.seq_lens.iter().sum();
        if tokens == labels && tokens == in_sequences {
            Ok(())
        } else {
            Err(NnError::Batch { tokens, labels, in_sequences })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_never_crosses_from_one_sequence_to_the_next() {
        let batch = TokenBatch::from_sequences([
            ([1, 5, 6].as_slice(), [IGNORE_INDEX, IGNORE_INDEX, 6].as_slice()),
            ([1, 7].as_slice(), [1, 7].as_slice()),
        ]);
        assert_eq!(batch.targets(), (vec![1, 3], vec![6, 7]));
        assert_eq!(batch.positions(), [0, 1, 2, 0, 1]);
        assert!(batch.validate().is_ok());
    }

    #[test]
    fn some_sequences_of_a_batch_are_those_of_the_whole() {
        let sequences: [(&[i64], &[i64]); 3] = [(&[1, 2], &[3, 4]), (&[5], &[6]), (&[7, 8, 9], &[7, 8, 9])];
        let batch = TokenBatch::from_sequences(sequences);
        assert_eq!(batch.select(&[2, 0]), TokenBatch::from_sequences([sequences[2], sequences[0]]));
        assert_eq!(batch.select(&[]), TokenBatch::default());
    }

    #[test]
    fn a_batch_that_does_not_add_up_is_refused() {
        let batch = TokenBatch { input_ids: vec![1, 2], labels: vec![1], seq_lens: vec![2] };
        assert!(batch.validate().is_err());
    }
}
