//! Which records validate, and the order of the others in each epoch.
//!
//! Both are a function of the seed alone, through a shuffle of our own: a resumed run must see the order the first one
//! saw, whatever version of whatever library it was built with.

use nn_core::mix_seed;

use crate::DataError;

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
    let mut order = permutation(records, mix_seed(seed, u64::MAX));
    let train = order.split_off(validation);
    Ok(Split { train, validation: order })
}

/// The order of the examples, epoch by epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochOrder {
    /// Seed of the run.
    pub seed: u64,
    /// Whether examples of similar length go into one batch.
    pub group_by_length: bool,
    /// Examples of one optimiser step.
    pub batch_size: usize,
}

impl EpochOrder {
    /// A permutation of `0..lengths.len()` for this epoch; `lengths` are in tokens.
    ///
    /// With `group_by_length`, as transformers (`trainer_pt_utils.py`, `get_length_grouped_indices`): the permutation
    /// is cut into runs of up to 50 batches, each sorted from long to short, and the longest example of all goes
    /// first, so that a run out of memory happens at once.
    pub fn epoch(&self, epoch: u64, lengths: &[usize]) -> Vec<usize> {
        let mut order = permutation(lengths.len(), mix_seed(self.seed, epoch));
        if self.group_by_length && !order.is_empty() {
            let batch_size = self.batch_size.max(1);
            let batches = (order.len() / (batch_size * 4)).clamp(1, 50);
            for run in order.chunks_mut(batches * batch_size) {
                run.sort_by_key(|&index| std::cmp::Reverse(lengths[index]));
            }
            let longest = (0..order.len()).step_by(batches * batch_size).max_by_key(|&at| lengths[order[at]]);
            order.swap(0, longest.unwrap_or(0));
        }
        order
    }
}

/// Fisher-Yates; the draw for position `i` is the `i`-th number of the seed's stream.
fn permutation(len: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    for i in (1..len).rev() {
        let draw = u128::from(mix_seed(seed, i as u64)) * (i as u128 + 1);
        order.swap(i, (draw >> 64) as usize);
    }
    order
}
