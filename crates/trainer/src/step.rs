//! One optimiser step.

use nn_core::{Mode, TokenBatch, Trainable, mix_seed};
use process_group::ProcessGroup;
use tch::Device;

use crate::TrainError;
use crate::diagnosis::BadNumbers;
use crate::optim::{Gradients, Optimizer};
use crate::parts::Parts;
use crate::pass::{backward, loss_sum, to_host, to_number};
use crate::phases::{Phases, Stopwatch};
use crate::share::Share;
use crate::stop::StopFlag;

/// Settings of one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepSettings {
    /// Seed of this step; micro-batch `i` runs under `mix_seed(seed, i)`.
    pub seed: u64,
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// Global gradient norm above which gradients are scaled down; 0 turns clipping off.
    pub max_grad_norm: f64,
    /// Wait for a GPU after every pass, so that [`Phases`] are exact.
    pub time_phases: bool,
    /// Factor of the loss in the backward pass, which gradients are divided by afterwards; 1 where activations are not float16.
    pub loss_scale: f64,
}

/// Figures of one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepStats {
    /// Mean cross-entropy over the step's targets, before the update.
    pub loss: f64,
    /// Global gradient norm before clipping.
    pub grad_norm: f64,
    /// Tokens that went through the model.
    pub tokens: usize,
    /// Labels that counted in the loss.
    pub targets: usize,
    /// Seconds by phase.
    pub phases: Phases,
}

/// The end of a step.
#[derive(Debug)]
pub enum StepOutcome {
    /// The parameters were updated.
    Updated(StepStats),
    /// No label counts: nothing was computed or changed.
    NoTargets,
    /// A stop was requested between two micro-batches, in whichever process: parameters and optimiser are unchanged.
    Interrupted,
    /// The gradients overflowed under the loss scale: parameters and optimiser are unchanged, and a lower scale may do.
    Overflowed,
    /// Loss or gradient cannot be used: parameters and optimiser are unchanged.
    Unusable(BadNumbers),
}

/// Runs forward and backward over `micro_batches`, clips, and updates the parameters of `optimizer`, which are those of
/// `trainable`: a step of one process.
///
/// The gradient is that of the mean loss over all targets of all micro-batches, however they are spread: each micro-batch's
/// sum is divided by the number of targets in the whole step, which is known before the first forward pass
/// (transformers since 4.46, `num_items_in_batch`). The host waits for the device once, unless phases are timed.
///
/// # Errors
/// [`TrainError::Loss`] when the model fails, [`TrainError::NoGradient`] when a parameter is not reached,
/// [`TrainError::Batch`] for a batch that does not add up.
pub fn optimizer_step(
    trainable: &dyn Trainable,
    optimizer: &mut Optimizer,
    micro_batches: &[TokenBatch],
    settings: &StepSettings,
    stop: &StopFlag,
) -> Result<StepOutcome, TrainError> {
    shared_step(trainable, optimizer, micro_batches, settings, stop, &ProcessGroup::alone())
}

/// Takes a step as [`optimizer_step`] does, of several processes.
///
/// All processes of `group` are given the same micro-batches. Each runs its share, and their losses and gradients are summed: what
/// follows is the same in all of them. The seed of a micro-batch is that of its place in the step, whoever runs it.
///
/// # Errors
/// Those of [`optimizer_step`], and [`TrainError::Group`] when another process has failed.
pub(crate) fn shared_step(
    trainable: &dyn Trainable,
    optimizer: &mut Optimizer,
    micro_batches: &[TokenBatch],
    settings: &StepSettings,
    stop: &StopFlag,
    group: &ProcessGroup,
) -> Result<StepOutcome, TrainError> {
    let counts: Vec<usize> = micro_batches.iter().map(TokenBatch::num_targets).collect();
    let targets: usize = counts.iter().sum();
    if targets == 0 {
        return Ok(StepOutcome::NoTargets);
    }

    optimizer.zero_grad()?;
    let device = optimizer.parameters().first().map_or(Device::Cpu, |(_, tensor)| tensor.device());
    let divisor = targets as f64 / settings.loss_scale;
    let mut watch = Stopwatch::start(optimizer.devices(), settings.time_phases);
    let mut phases = Phases::default();
    let used: Vec<usize> = (0..micro_batches.len()).filter(|&index| counts[index] > 0).collect();
    let tokens = used.iter().map(|&index| micro_batches[index].num_tokens()).sum();
    // The loss sum of each used micro-batch.
    let mut share = Share::new(group, used.len());
    for place in share.places() {
        if stop.is_requested() {
            share.stop();
            break;
        }
        let index = used[place];
        let batch = &micro_batches[index];
        let seed = mix_seed(settings.seed, index as u64);
        let sum = if let Some(parts) = Parts::of(batch, trainable, optimizer.parameters()) {
            parts.backward(trainable, optimizer.parameters(), seed, divisor)?
        } else {
            let loss = |batch: &TokenBatch, mode| trainable.loss_sum(batch, mode);
            let loss_sum = loss_sum(&loss, batch, Mode::Train { seed })?;
            phases.forward_s += watch.lap();
            backward(&loss_sum, divisor)?;
            to_number(&loss_sum)?
        };
        phases.backward_s += watch.lap();
        share.put(place, sum);
    }
    if share.ends_alone() {
        return Ok(StepOutcome::Interrupted);
    }
    let mut gradients = if share.is_empty() { optimizer.zero_gradients()? } else { optimizer.gradients()? };
    let mut numbers = share.sum(device)?;
    gradients.all_reduce(group)?;
    if settings.loss_scale > 1.0 {
        gradients.scale(1.0 / settings.loss_scale)?;
    }
    numbers.push(gradients.norm()?);

    let mut loss_sums = to_host(&numbers)?;
    phases.backward_s += watch.lap();
    let grad_norm = loss_sums.pop().unwrap_or(f64::NAN);
    if Share::is_stopped(group, &mut loss_sums) {
        return Ok(StepOutcome::Interrupted);
    }
    let loss = loss_sums.iter().sum::<f64>() / targets as f64;
    if loss.is_finite() && !grad_norm.is_finite() && settings.loss_scale > 1.0 {
        return Ok(StepOutcome::Overflowed);
    }
    // A loss of 0 whose gradient is not 0 is a model that is sure, not one that is broken.
    if !loss.is_finite() || !grad_norm.is_finite() || (loss == 0.0 && grad_norm == 0.0) {
        let loss_sums = used.into_iter().zip(loss_sums).collect();
        let numbers = find_bad_numbers(trainable, optimizer, &gradients, (loss, grad_norm), loss_sums)?;
        return Ok(StepOutcome::Unusable(numbers));
    }

    if settings.max_grad_norm > 0.0 {
        let factor = settings.max_grad_norm / (grad_norm + 1e-6); // torch.nn.utils.clip_grad_norm_
        if factor < 1.0 {
            gradients.scale(factor)?;
        }
    }
    optimizer.step(gradients, settings.learning_rate)?;
    phases.optimizer_s += watch.lap();
    Ok(StepOutcome::Updated(StepStats { loss, grad_norm, tokens, targets, phases }))
}

/// Finds where a step's numbers are wrong. `loss_sums`: micro-batch and its loss.
fn find_bad_numbers(
    trainable: &dyn Trainable,
    optimizer: &Optimizer,
    gradients: &Gradients,
    (loss, grad_norm): (f64, f64),
    loss_sums: Vec<(usize, f64)>,
) -> Result<BadNumbers, TrainError> {
    let any_bad = loss_sums.iter().any(|(_, sum)| !sum.is_finite());
    let suspects = loss_sums.into_iter().filter(|(_, sum)| !any_bad || !sum.is_finite());
    let parameters = optimizer.not_finite()?;
    let gradients = optimizer.gradients_not_finite(gradients)?;
    let frozen = if parameters.is_empty() && (any_bad || !gradients.is_empty()) {
        frozen_not_finite(trainable)?
    } else {
        Vec::new()
    };
    let micro_batches = suspects.map(|(index, _)| index).collect();
    Ok(BadNumbers { loss, grad_norm, micro_batches, parameters, frozen, gradients })
}

/// Names the frozen weights that are not finite.
pub(crate) fn frozen_not_finite(trainable: &dyn Trainable) -> Result<Vec<String>, TrainError> {
    trainable.frozen_not_finite().map_err(TrainError::Search)
}
