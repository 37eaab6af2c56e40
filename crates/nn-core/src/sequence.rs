//! Sequences of tokens as a dataset, and the order of their epochs.

use crate::{Dataset, TokenBatch, mix_seed};

/// Token ids and labels of one sequence. A `Vec` of sequences is a [`Dataset`], in a new random order each epoch.
pub trait Sequence {
    /// Returns the token ids.
    fn input_ids(&self) -> &[i64];

    /// Labels, one for each token; [`IGNORE_INDEX`](crate::IGNORE_INDEX) where nothing is learnt.
    fn labels(&self) -> &[i64];
}

impl<S: Sequence> Dataset for Vec<S> {
    fn len(&self) -> usize {
        self.len()
    }

    fn epoch_order(&self, epoch: u64, seed: u64) -> Vec<usize> {
        shuffled(self.len(), mix_seed(seed, epoch))
    }

    /// Packs the examples at `indices`.
    ///
    /// # Panics
    /// When an index is not below `self.len()`.
    fn batch(&self, indices: &[usize]) -> TokenBatch {
        TokenBatch::from_sequences(
            indices.iter().map(|&index| (self[index].input_ids(), self[index].labels())),
        )
    }
}

/// Returns a permutation of `0..len`, by a Fisher-Yates shuffle of our own: a run resumed with a newer build sees the order
/// that it began with. The draw for position `i` is the `i`-th number of the seed's stream.
#[must_use]
pub fn shuffled(len: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    for i in (1..len).rev() {
        let draw = u128::from(mix_seed(seed, i as u64)) * (i as u128 + 1);
        order.swap(i, (draw >> 64) as usize);
    }
    order
}
