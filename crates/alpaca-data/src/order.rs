//! Split into training and validation records, and batches of similar length. Both are a function of the seed alone.

use nn_core::{Dataset, TokenBatch, mix_seed, shuffled};

use crate::{DataError, Example};

/// Indices of the records of each part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// For training.
    pub train: Vec<usize>,
    /// For validation.
    pub validation: Vec<usize>,
}

/// Deals `records` records at random: `validation` of them to validation, the others to training.
///
/// # Errors
/// [`DataError::Split`] when nothing is left for training.
pub fn split(records: usize, validation: usize, seed: u64) -> Result<Split, DataError> {
    if validation >= records {
        return Err(DataError::Split { validation, records });
    }
    // Its own stream, or the first epoch would repeat this permutation.
    let mut order = shuffled(records, mix_seed(seed, u64::MAX));
    let train = order.split_off(validation);
    Ok(Split { train, validation: order })
}

/// Examples in an order that puts similar lengths into one batch, as transformers' `group_by_length` does
/// (`trainer_pt_utils.py`, `get_length_grouped_indices`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupedByLength {
    /// Examples, in any order.
    pub examples: Vec<Example>,
    /// Examples of one optimiser step.
    pub batch_size: usize,
}

impl Dataset for GroupedByLength {
    fn len(&self) -> usize {
        self.examples.len()
    }

    /// Cuts the random order into runs of up to 50 batches, sorts each from long to short, and puts the longest example of
    /// all first, so that a run out of memory happens at once.
    fn epoch_order(&self, epoch: u64, seed: u64) -> Vec<usize> {
        let mut order = self.examples.epoch_order(epoch, seed);
        if order.is_empty() {
            return order;
        }
        let batch_size = self.batch_size.max(1);
        let len = |index: usize| self.examples[index].input_ids.len();
        let batches = (order.len() / (batch_size * 4)).clamp(1, 50);
        for run in order.chunks_mut(batches * batch_size) {
            run.sort_by_key(|&index| std::cmp::Reverse(len(index)));
        }
        let longest = (0..order.len()).step_by(batches * batch_size).max_by_key(|&at| len(order[at]));
        order.swap(0, longest.unwrap_or(0));
        order
    }

    fn batch(&self, indices: &[usize]) -> TokenBatch {
        self.examples.batch(indices)
    }
}
