//! Records to what the trainer reads.

use alpaca_data::{EpochOrder, Example, batch};
use nn_core::TokenBatch;
use trainer::Dataset;

/// Tokenised records, and the order in which an epoch reads them.
#[derive(Debug)]
pub struct Examples {
    /// The records.
    pub examples: Vec<Example>,
    /// Put examples of similar length into one batch.
    pub group_by_length: bool,
    /// Examples of one optimiser step.
    pub batch_size: usize,
}

impl Dataset for Examples {
    fn len(&self) -> usize {
        self.examples.len()
    }

    fn epoch_order(&self, epoch: u64, seed: u64) -> Vec<usize> {
        let lengths: Vec<usize> = self.examples.iter().map(|example| example.input_ids.len()).collect();
        let order = EpochOrder { seed, group_by_length: self.group_by_length, batch_size: self.batch_size };
        order.epoch(epoch, &lengths)
    }

    fn batch(&self, indices: &[usize]) -> TokenBatch {
        batch(&self.examples, indices)
    }
}
