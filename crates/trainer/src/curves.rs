//! The two files of a run's curves: metrics for programs, events for `TensorBoard`.

use crate::TrainError;
use crate::events::Events;
use crate::metrics::{EvalRecord, MetricsFile, StepRecord};
use crate::report::Reporter;

/// `metrics.jsonl` and `runs/`, open.
#[derive(Debug)]
pub(crate) struct Curves {
    pub(crate) metrics: MetricsFile,
    pub(crate) events: Events,
}

impl Curves {
    /// Adds the figures of some steps.
    pub(crate) fn step(
        &mut self,
        record: &StepRecord,
        reporter: &mut dyn Reporter,
    ) -> Result<(), TrainError> {
        self.metrics.append(record)?;
        let mut scalars =
            vec![("train/learning_rate", record.learning_rate), ("train/tokens_per_s", record.tokens_per_s)];
        scalars.extend(record.loss.map(|loss| ("train/loss", loss)));
        scalars.extend(record.grad_norm.map(|norm| ("train/grad_norm", norm)));
        self.events.scalars(record.step, &scalars, reporter);
        Ok(())
    }

    /// Adds an evaluation.
    pub(crate) fn evaluation(
        &mut self,
        record: &EvalRecord,
        reporter: &mut dyn Reporter,
    ) -> Result<(), TrainError> {
        self.metrics.append(record)?;
        self.events.scalars(record.step, &[("eval/loss", record.eval_loss)], reporter);
        Ok(())
    }

    /// Waits until the metrics are on the disk.
    pub(crate) fn sync(&self) -> Result<(), TrainError> {
        self.metrics.sync()
    }
}
