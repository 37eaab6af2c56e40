//! Records to what the trainer reads.

use alpaca_data::{EpochOrder, Example, batch};
use nn_core::TokenBatch;
use trainer::Dataset;

/// Tokenised records in a seeded order for each epoch.
#[derive(Debug)]
pub struct Examples {
    /// The records.
    pub examples: Vec<Example>,
    /// Their order.
    pub order: EpochOrder,
}

impl Dataset for Examples {
    fn len(&self) -> usize {
        self.examples.len()
    }

    fn epoch_order(&self, epoch: u64) -> Vec<usize> {
        let lengths: Vec<usize> = self.examples.iter().map(|example| example.input_ids.len()).collect();
        self.order.epoch(epoch, &lengths)
    }

    fn batch(&self, indices: &[usize]) -> TokenBatch {
        batch(&self.examples, indices)
    }
}
