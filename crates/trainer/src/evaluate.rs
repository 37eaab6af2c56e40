//! Validation loss.

use nn_core::{Dataset, Mode, TokenBatch, Trainable};
use tch::no_grad_guard;

use crate::TrainError;
use crate::pass::{loss_sum, to_host, to_number};
use crate::stop::StopFlag;

/// Computes the mean cross-entropy over all targets of `dataset`, or `None` when a stop was requested before the end.
/// `on_batch` receives the number of records done.
///
/// Only one number per batch is kept, and the host waits for the device once, at the end.
///
/// # Errors
/// [`TrainError::NoValidationTargets`] when no label counts, [`TrainError::Loss`] when the model fails.
pub(crate) fn evaluate(
    trainable: &dyn Trainable,
    dataset: &dyn Dataset,
    batch_size: usize,
    stop: &StopFlag,
    on_batch: &mut dyn FnMut(usize),
) -> Result<Option<f64>, TrainError> {
    let _guard = no_grad_guard();
    let records: Vec<usize> = (0..dataset.len()).collect();
    let (mut targets, mut done) = (0, 0);
    let mut sums = Vec::new();
    for indices in records.chunks(batch_size.max(1)) {
        if stop.is_requested() {
            return Ok(None);
        }
        let batch = dataset.batch(indices);
        let count = batch.num_targets();
        if count > 0 {
            let loss = |batch: &TokenBatch, mode| trainable.loss_sum(batch, mode);
            sums.push(to_number(&loss_sum(&loss, &batch, Mode::Eval)?)?);
            targets += count;
        }
        done += indices.len();
        on_batch(done);
    }
    if targets == 0 {
        return Err(TrainError::NoValidationTargets { records: dataset.len() });
    }
    Ok(Some(to_host(&sums)?.iter().sum::<f64>() / targets as f64))
}
