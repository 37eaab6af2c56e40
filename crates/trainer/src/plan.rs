//! Steps of a run, and the records each of them reads.

use std::ops::Range;

use crate::config::TrainConfig;

/// Number of steps of a run, and the records of each. A pure function of the configuration and the number
/// of records, so that a step's number is all that a resumed run needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StepPlan {
    records: usize,
    micro_batch_size: usize,
    accumulation: usize,
    /// Optimiser steps in one epoch. The last one may accumulate fewer micro-batches, and the last micro-batch may be
    /// smaller: no record is left out and no step crosses into the next epoch (`Trainer` of newer transformers; older ones left the rest out).
    pub(crate) steps_per_epoch: u64,
    /// Optimiser steps of the run.
    pub(crate) total_steps: u64,
}

impl StepPlan {
    /// Plans `config` over `records` records. Without records there are no steps.
    pub(crate) fn new(config: &TrainConfig, records: usize) -> Self {
        let micro_batch_size = config.micro_batch_size.max(1) as usize;
        let accumulation = config.gradient_accumulation_steps.max(1) as usize;
        let steps_per_epoch = records.div_ceil(micro_batch_size).div_ceil(accumulation) as u64;
        let total_steps = match config.max_steps {
            _ if records == 0 => 0,
            Some(max_steps) => u64::from(max_steps),
            None => u64::from(config.num_epochs) * steps_per_epoch,
        };
        Self { records, micro_batch_size, accumulation, steps_per_epoch, total_steps }
    }

    /// Returns the epoch (from 0) that the step after `steps_done` steps belongs to.
    pub(crate) fn epoch(&self, steps_done: u64) -> u64 {
        steps_done / self.steps_per_epoch.max(1)
    }

    /// Returns the epochs done after `steps_done` steps, with their fraction.
    pub(crate) fn epochs_done(&self, steps_done: u64) -> f64 {
        steps_done as f64 / self.steps_per_epoch.max(1) as f64
    }

    /// Returns the micro-batches of the current epoch done after `steps_done` steps.
    pub(crate) fn micro_batches_done(&self, steps_done: u64) -> usize {
        (steps_done % self.steps_per_epoch.max(1)) as usize * self.accumulation
    }

    /// Returns the micro-batches of the step after `steps_done` steps, as ranges of the epoch's order.
    pub(crate) fn micro_batches(&self, steps_done: u64) -> Vec<Range<usize>> {
        let first = self.micro_batches_done(steps_done);
        (first..first + self.accumulation)
            .map(|i| i * self.micro_batch_size)
            .take_while(|&start| start < self.records)
            .map(|start| start..self.records.min(start + self.micro_batch_size))
            .collect()
    }
}

impl TrainConfig {
    /// Returns the number of optimiser steps of a run over `records` records.
    pub fn total_steps(&self, records: usize) -> u64 {
        StepPlan::new(self, records).total_steps
    }
}

#[cfg(test)]
mod tests {
    use super::StepPlan;
    use crate::TrainConfig;

    fn plan(records: usize, micro: u32, accumulation: u32, epochs: u32) -> StepPlan {
        let config = TrainConfig {
            micro_batch_size: micro,
            gradient_accumulation_steps: accumulation,
            num_epochs: epochs,
            ..TrainConfig::default()
        };
        StepPlan::new(&config, records)
    }

    #[test]
    fn alpaca_lora_on_the_cleaned_data_has_the_steps_of_new_transformers() {
        assert_eq!(plan(49_760, 4, 32, 3).total_steps, 1167);
    }

    #[test]
    fn an_epoch_reads_every_record_once_and_in_order() {
        for (records, micro, accumulation) in [(10, 3, 2), (7, 2, 4), (8, 2, 2), (1, 4, 4), (13, 1, 5)] {
            let plan = plan(records, micro, accumulation, 2);
            for epoch in 0..2 {
                let steps = epoch * plan.steps_per_epoch..(epoch + 1) * plan.steps_per_epoch;
                assert!(steps.clone().all(|step| plan.epoch(step) == epoch));
                let read: Vec<usize> = steps.flat_map(|step| plan.micro_batches(step)).flatten().collect();
                assert_eq!(read, (0..records).collect::<Vec<_>>());
            }
            assert_eq!(plan.total_steps, 2 * plan.steps_per_epoch);
        }
    }
}
