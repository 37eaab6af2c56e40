//! The records that each step reads.

use nn_core::Dataset;

use crate::TrainError;
use crate::plan::StepPlan;

/// Deals the records of a dataset to steps, epoch after epoch.
pub(crate) struct RecordDealer<'a> {
    dataset: &'a dyn Dataset,
    plan: StepPlan,
    seed: u64,
    /// An epoch, and the order of its records.
    order: Option<(u64, Vec<usize>)>,
}

impl<'a> RecordDealer<'a> {
    /// Creates a dealer for a run with seed `seed`.
    pub(crate) fn new(dataset: &'a dyn Dataset, plan: StepPlan, seed: u64) -> Self {
        Self { dataset, plan, seed, order: None }
    }

    /// Returns the records of each micro-batch of the step after `steps_done` steps.
    pub(crate) fn micro_batches(&mut self, steps_done: u64) -> Result<Vec<Vec<usize>>, TrainError> {
        let epoch = self.plan.epoch(steps_done);
        let order = match self.order.take() {
            Some((of, order)) if of == epoch => order,
            _ => self.epoch_order(epoch)?,
        };
        let ranges = self.plan.micro_batches(steps_done);
        let micro_batches = ranges.into_iter().map(|range| order[range].to_vec()).collect();
        self.order = Some((epoch, order));
        Ok(micro_batches)
    }

    /// Asks for the order of an epoch and checks that it is a permutation.
    fn epoch_order(&self, epoch: u64) -> Result<Vec<usize>, TrainError> {
        let order = self.dataset.epoch_order(epoch, self.seed);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        if sorted.into_iter().eq(0..self.dataset.len()) {
            Ok(order)
        } else {
            Err(TrainError::EpochOrder { epoch, records: self.dataset.len() })
        }
    }
}
