//! Fused passes on a CUDA device, for tensors of float32, bfloat16 and float16 in one piece each.

use tch::{Device, Kind, TchError, Tensor};

use super::device::{STATUS, on};
use super::pass::Pass;
use super::pass_checks;
use super::pass_launches as launches;
use crate::cuda::Launch;
use crate::error::KernelError;
use crate::fused::Dropout;

impl Pass {
    /// Returns whether the kernels of both passes are used for this kind on CUDA device `index`. They are checked when that is
    /// first asked.
    pub(crate) fn is_usable(self, index: usize, kind: Kind) -> bool {
        self.name(kind).is_some_and(|name| {
            STATUS.usable((index, name), || {
                tch::no_grad(|| pass_checks::check(self, kind, Device::Cuda(index), &on(index)))
            })
        })
    }
}

/// Does what `rms_norm` of `fused` does.
pub(crate) fn rms_norm(xs: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor, TchError> {
    let out = xs.f_empty_like()?;
    run(xs, || launches::rms_norm(xs, weight, eps, &out))?;
    Ok(out)
}

/// Computes the gradient of `xs`.
pub(crate) fn rms_norm_backward(
    grad: &Tensor,
    xs: &Tensor,
    weight: &Tensor,
    eps: f64,
) -> Result<Tensor, TchError> {
    let out = xs.f_empty_like()?;
    run(xs, || launches::rms_norm_backward(grad, xs, weight, eps, &out))?;
    Ok(out)
}

/// Turns two tensors of heads: forward, or `back`.
pub(crate) fn rotate_both(
    heads: [&Tensor; 2],
    turns: [&Tensor; 2],
    back: bool,
) -> Result<[Tensor; 2], TchError> {
    let outs = [heads[0].f_empty_like()?, heads[1].f_empty_like()?];
    run(heads[0], || launches::rotate_half(heads, turns, back, [&outs[0], &outs[1]]))?;
    Ok(outs)
}

/// Computes `silu(gate) · up`.
pub(crate) fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor, TchError> {
    let out = gate.f_empty_like()?;
    run(gate, || launches::swiglu(gate, up, &out))?;
    Ok(out)
}

/// Computes the gradients of `gate` and `up`.
pub(crate) fn swiglu_backward(grad: &Tensor, gate: &Tensor, up: &Tensor) -> Result<[Tensor; 2], TchError> {
    let outs = [gate.f_empty_like()?, gate.f_empty_like()?];
    run(gate, || launches::swiglu_backward(grad, gate, up, [&outs[0], &outs[1]]))?;
    Ok(outs)
}

/// Puts the zeros of `dropout` into `xs`, `[.., C]`: those that it puts there on a CPU.
pub(crate) fn dropout(xs: &Tensor, dropout: Dropout) -> Result<Tensor, TchError> {
    let out = xs.f_empty_like()?;
    run(xs, || launches::dropout(xs, dropout, &out))?;
    Ok(out)
}

/// Converts `a`, `[r, in]`, and `scale · b`, `[out, r]`, from float32 to `kind`.
pub(crate) fn narrow_factors(
    a: &Tensor,
    b: &Tensor,
    scale: f64,
    kind: Kind,
) -> Result<[Tensor; 2], TchError> {
    let [a_len, b_len] = [a, b].map(|factor| factor.numel() as i64);
    let both = Tensor::f_empty([a_len + b_len], (kind, a.device()))?;
    run(a, || launches::narrow_factors(a, b, scale, &both))?;
    let part =
        |start, factor: &Tensor| both.f_narrow(0, start, factor.numel() as i64)?.f_view(&factor.size()[..]);
    Ok([part(0, a)?, part(a_len, b)?])
}

/// Converts gradients of the factors back to float32: `of_a`, and `scale · of_b`.
pub(crate) fn widen_factors(of_a: &Tensor, of_b: &Tensor, scale: f64) -> Result<[Tensor; 2], TchError> {
    let like = |xs: &Tensor| Tensor::f_empty(xs.size(), (Kind::Float, xs.device()));
    let (a, b) = (like(of_a)?, like(of_b)?);
    run(of_a, || launches::widen_factors(of_a, of_b, scale, &a, &b))?;
    Ok([a, b])
}

/// Launches a kernel that has passed its check, on the device of `xs`; nothing where there are no numbers.
fn run<'a>(xs: &Tensor, launch: impl FnOnce() -> Option<Launch<'a>>) -> Result<(), TchError> {
    let Device::Cuda(index) = xs.device() else {
        return Err(TchError::Torch(format!("a kernel of a GPU for a tensor of {:?}", xs.device())));
    };
    if xs.numel() == 0 {
        return Ok(());
    }
    let failed = |error: &KernelError| TchError::Torch(error.to_string());
    let launch = launch().ok_or_else(|| failed(&KernelError::Shape { kernel: "of a fused pass" }))?;
    on(index)(&launch).map_err(|error| {
        STATUS.give_up((index, launch.function), &error);
        failed(&error)
    })
}
