//! Validation loss.

use nn_core::{Dataset, Mode, TokenBatch, Trainable};
use process_group::ProcessGroup;
use tch::{Device, no_grad_guard};

use crate::TrainError;
use crate::pass::{loss_sum, to_host, to_number};
use crate::share::Share;
use crate::stop::StopFlag;

/// Computes the mean cross-entropy over all targets of `dataset`, or `None` when a stop was requested before the end, in whichever
/// process of `group`. `on_batch` receives the number of records done.
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
    group: &ProcessGroup,
    on_batch: &mut dyn FnMut(usize),
) -> Result<Option<f64>, TrainError> {
    let _guard = no_grad_guard();
    let records: Vec<usize> = (0..dataset.len()).collect();
    let targets: usize = records.iter().map(|&index| dataset.batch(&[index]).num_targets()).sum();
    if targets == 0 {
        return Err(TrainError::NoValidationTargets { records: dataset.len() });
    }
    let chunks: Vec<&[usize]> = records.chunks(batch_size.max(1)).collect();
    let mut share = Share::new(group, chunks.len());
    for place in share.places() {
        if stop.is_requested() {
            share.stop();
            break;
        }
        let batch = dataset.batch(chunks[place]);
        if batch.num_targets() > 0 {
            let loss = |batch: &TokenBatch, mode| trainable.loss_sum(batch, mode);
            share.put(place, to_number(&loss_sum(&loss, &batch, Mode::Eval)?)?);
        }
        on_batch(chunks[place].last().map_or(0, |last| last + 1));
    }
    if share.ends_alone() {
        return Ok(None);
    }
    let mut sums = to_host(&share.sum(group.device().unwrap_or(Device::Cpu))?)?;
    if Share::is_stopped(group, &mut sums) {
        return Ok(None);
    }
    Ok(Some(sums.iter().sum::<f64>() / targets as f64))
}
