//! The adapter of a linear layer on a GPU: products of matrices in the kind of the activations.

use tch::{TchError, Tensor};
use torch_ext::custom_with;

use super::gradient::as_torch;
use super::mask::Dropout;
use super::passes::Passes;
use super::rank::LowRank;
use crate::gpu;

/// Does what [`add_low_rank`](super::low_rank::add_low_rank) does, where there are kernels for its conversions and its dropout.
pub(super) fn add_low_rank(
    base: &Tensor,
    xs: &Tensor,
    LowRank { a, b, scale }: LowRank<'_>,
    dropout: Option<Dropout>,
) -> Result<Tensor, TchError> {
    if ![base, xs, a, b].iter().any(|tensor| tensor.requires_grad()) {
        return Ok(forward(base, xs, LowRank { a, b, scale }, dropout)?.0);
    }
    let made = custom_with(
        // With dropout, its result is kept in the place of `xs`.
        [(base, false), (xs, dropout.is_none()), (a, false), (b, false)],
        move |inputs| {
            let factors = LowRank { a: &inputs[2], b: &inputs[3], scale };
            let (ys, kept) = forward(&inputs[0], &inputs[1], factors, dropout)?;
            Ok(([ys], kept))
        },
        move |[grad], kept, wanted| backward(grad, kept, scale, dropout, wanted),
    );
    made.map(|[ys]| ys).map_err(as_torch)
}

/// Returns the result, and what the backward pass needs beside `xs`: with dropout the dropped inputs, then `A` and `scale · B` in the
/// kind of `xs`, and `dropout(x) Aᵀ`.
fn forward(
    base: &Tensor,
    xs: &Tensor,
    LowRank { a, b, scale }: LowRank<'_>,
    dropout: Option<Dropout>,
) -> Result<(Tensor, Vec<Tensor>), TchError> {
    let dropped = dropout.map(|dropout| dropout.masked(Passes::Kernels, xs)).transpose()?;
    let [a, b] = gpu::narrow_factors(a, b, scale, xs.kind())?;
    let low = rows(dropped.as_ref().unwrap_or(xs))?.f_mm(&a.f_tr()?)?; // [N, r]
    let ys = rows(base)?.f_addmm(&low, &b.f_tr()?)?.f_view(&base.size()[..])?;
    Ok((ys, dropped.into_iter().chain([a, b, low]).collect()))
}

/// Computes the gradients of `base`, `xs`, `A` and `B`. `kept`: the inputs, dropped where there is dropout, and the rest as
/// [`forward`] gives it.
fn backward(
    grad: &Tensor,
    kept: &[Tensor],
    scale: f64,
    dropout: Option<Dropout>,
    wanted: [bool; 4],
) -> Result<[Option<Tensor>; 4], TchError> {
    let [xs, a, b, low] = kept else {
        return Err(TchError::Torch(format!("{} tensors kept of an adapter; expected 4", kept.len())));
    };
    let grads = rows(grad)?.f_contiguous()?;
    let of_low = grads.f_mm(b)?; // [N, r], times the scale
    let of_xs = || {
        let of_xs = of_low.f_mm(a)?.f_view(&xs.size()[..])?;
        dropout.map_or(Ok(of_xs.shallow_clone()), |dropout| dropout.masked(Passes::Kernels, &of_xs))
    };
    let of_xs = wanted[1].then(of_xs).transpose()?;
    let (mut of_a, mut of_b) = (None, None);
    if wanted[2] || wanted[3] {
        let a_rows = of_low.f_tr()?.f_mm(&rows(xs)?)?; // [r, in]
        let b_rows = grads.f_tr()?.f_mm(low)?; // [out, r]
        let [a_rows, b_rows] = gpu::widen_factors(&a_rows, &b_rows, scale)?;
        (of_a, of_b) = (Some(a_rows), Some(b_rows));
    }
    Ok([Some(grad.shallow_clone()), of_xs, of_a, of_b])
}

/// Views `[.., C]` as `[N, C]`.
fn rows(xs: &Tensor) -> Result<Tensor, TchError> {
    match xs.size()[..] {
        [_, _] => Ok(xs.shallow_clone()),
        _ => xs.f_reshape([-1, xs.size().last().copied().unwrap_or(1)]),
    }
}
