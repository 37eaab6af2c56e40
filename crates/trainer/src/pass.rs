//! One pass over a batch, forward and backward.

use nn_core::{BoxError, Mode, TokenBatch, TorchContext};
use tch::{Device, Kind, Tensor};

use crate::TrainError;

/// Computes the loss of a batch after checking that its parts fit.
pub(crate) fn loss_sum(
    loss: &dyn Fn(&TokenBatch, Mode) -> Result<Tensor, BoxError>,
    batch: &TokenBatch,
    mode: Mode,
) -> Result<Tensor, TrainError> {
    batch.validate()?;
    let (sequences, tokens) = (batch.seq_lens.len(), batch.num_tokens());
    loss(batch, mode).map_err(|source| TrainError::Loss { sequences, tokens, source })
}

/// Runs the backward pass of the sum divided by `divisor`: the number of labels, for their mean.
pub(crate) fn backward(loss_sum: &Tensor, divisor: f64) -> Result<(), TrainError> {
    Ok(loss_sum.f_div_scalar(divisor).op("div")?.f_backward().op("backward")?)
}

/// Converts a tensor of one element to float64 `[1]`, outside the graph, on its device.
pub(crate) fn to_number(tensor: &Tensor) -> Result<Tensor, TrainError> {
    let number = tensor.f_detach().op("detach")?.f_to_kind(Kind::Double).op("to_kind")?;
    Ok(number.f_reshape([1]).op("reshape")?)
}

/// Joins tensors of one dimension on the device of the first.
pub(crate) fn cat(parts: &[Tensor]) -> Result<Tensor, TrainError> {
    let device = parts.first().map_or(Device::Cpu, Tensor::device);
    let parts = parts.iter().map(|part| part.f_to_device(device).op("to_device"));
    Ok(Tensor::f_cat(&parts.collect::<Result<Vec<_>, _>>()?, 0).op("cat")?)
}

/// Waits for the devices and copies numbers of shape `[1]` to the host.
pub(crate) fn to_host(numbers: &[Tensor]) -> Result<Vec<f64>, TrainError> {
    let all = cat(numbers)?.f_to_device(Device::Cpu).op("to_device")?;
    Ok(Vec::try_from(&all).op("to_vec")?)
}
