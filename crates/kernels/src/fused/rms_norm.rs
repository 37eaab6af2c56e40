//! Root-mean-square norm.

use tch::{Kind, TchError, Tensor};
use torch_ext::custom_of;

use super::gradient::as_torch;
use super::outputs::filled;
use super::passes::Passes;
use crate::element::{Float, LANES, for_kind, sum_of_lanes, times};
use crate::gpu::{self, Pass};
use crate::memory::elements;
use crate::widest::widest;

/// Applies `RMSNorm` (Zhang and Sennrich, 2019, arXiv 1910.07467): `x / sqrt(mean(x²) + eps) · weight`, `xs` `[.., C]` and `weight`
/// `[C]` to `[.., C]`. The norm in float32, rounded to the kind of `xs` before it meets the weight, as transformers'
/// `LlamaRMSNorm` has it.
///
/// With a frozen weight in one pass, and the gradient in another, on a CPU and on a GPU with kernels of ours; equal to libtorch's
/// operations up to the order of the sum.
///
/// # Errors
/// libtorch's, when shapes or kinds do not fit.
pub fn rms_norm(xs: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor, TchError> {
    let width = weight.size();
    let fits =
        width.len() == 1 && width[0] > 0 && xs.size().last() == width.first() && !weight.requires_grad();
    let passes = if fits { Passes::of(&[xs, weight], &[Pass::RmsNorm]) } else { Passes::Operations };
    if passes == Passes::Operations {
        return by_operations(xs, weight, eps);
    }
    if !xs.requires_grad() {
        return forward(passes, xs, weight, eps);
    }
    custom_of(
        [(xs, true), (weight, true)],
        move |inputs| forward(passes, &inputs[0], &inputs[1], eps),
        move |grad, inputs, _| {
            Ok([Some(backward(passes, &grad.f_contiguous()?, &inputs[0], &inputs[1], eps)?), None])
        },
    )
    .map_err(as_torch)
}

fn by_operations(xs: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor, TchError> {
    let normed = xs.f_to_kind(Kind::Float)?.f_rms_norm(weight.size(), None::<&Tensor>, Some(eps))?;
    normed.f_to_kind(xs.kind())?.f_mul(weight)
}

fn forward(passes: Passes, xs: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor, TchError> {
    if passes == Passes::Kernels {
        return gpu::rms_norm(xs, weight, eps);
    }
    for_kind!(xs.kind(), normed(xs, weight, eps), by_operations(xs, weight, eps))
}

fn backward(
    passes: Passes,
    grad: &Tensor,
    xs: &Tensor,
    weight: &Tensor,
    eps: f64,
) -> Result<Tensor, TchError> {
    if passes == Passes::Kernels {
        return gpu::rms_norm_backward(grad, xs, weight, eps);
    }
    let other = || Err(TchError::Kind(format!("rms_norm of {:?}", xs.kind())));
    for_kind!(xs.kind(), gradient(grad, xs, weight, eps), other())
}

fn normed<T: Float>(xs: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor, TchError> {
    let (inputs, weight) = (elements::<T>(xs), elements::<T>(weight));
    filled::<T>(xs, weight.len(), |place, out| {
        norm_rows(&inputs[place..place + out.len()], weight, eps as f32, out);
    })
}

widest! {
fn norm_rows<T: Float>(inputs: &[T], weight: &[T], eps: f32, out: &mut [T]) {
    let rows = inputs.chunks_exact(weight.len()).zip(out.chunks_exact_mut(weight.len()));
    for (row, out) in rows {
        norm_row(row, weight, eps, out);
    }
}
}

/// Computes the gradient of `xs` in float32. With `g = grad · weight` and `s = 1 / sqrt(mean(x²) + eps)`: `s · (g - x · s² · mean(g · x))`.
fn gradient<T: Float>(grad: &Tensor, xs: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor, TchError> {
    let (grads, inputs, weight) = (elements::<T>(grad), elements::<T>(xs), elements::<T>(weight));
    filled::<T>(xs, weight.len(), |place, out| {
        let part = place..place + out.len();
        gradient_rows(&inputs[part.clone()], &grads[part], weight, eps as f32, out);
    })
}

widest! {
fn gradient_rows<T: Float>(inputs: &[T], grads: &[T], weight: &[T], eps: f32, out: &mut [T]) {
    let width = weight.len();
    let rows = inputs.chunks_exact(width).zip(grads.chunks_exact(width)).zip(out.chunks_exact_mut(width));
    for ((row, grad), out) in rows {
        gradient_row(row, grad, weight, eps, out);
    }
}
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "compiled for each width of vectors")]
fn norm_row<T: Float>(row: &[T], weight: &[T], eps: f32, out: &mut [T]) {
    let scale = 1.0 / (sum_of_products([row, row], None) / row.len() as f32 + eps).sqrt();
    let (rows, row) = row.as_chunks::<LANES>();
    let (weights, weight) = weight.as_chunks::<LANES>();
    let (outs, out) = out.as_chunks_mut::<LANES>();
    for ((x, w), y) in rows.iter().zip(weights).zip(outs) {
        let (x, w) = (T::widen_lanes(x), T::widen_lanes(w));
        let normed = T::widen_lanes(&T::narrow_lanes(&times(&x, &[scale; LANES])));
        *y = T::narrow_lanes(&times(&normed, &w));
    }
    for ((x, w), y) in row.iter().zip(weight).zip(out) {
        *y = T::narrow(T::narrow(x.widen() * scale).widen() * w.widen());
    }
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "compiled for each width of vectors")]
fn gradient_row<T: Float>(row: &[T], grad: &[T], weight: &[T], eps: f32, out: &mut [T]) {
    let width = row.len() as f32;
    let scale = 1.0 / (sum_of_products([row, row], None) / width + eps).sqrt();
    let along = scale * scale * sum_of_products([row, grad], Some(weight)) / width;
    let of = |x: f32, grad: f32, w: f32| scale * (grad * w - x * along);
    let (rows, row) = row.as_chunks::<LANES>();
    let (grads, grad) = grad.as_chunks::<LANES>();
    let (weights, weight) = weight.as_chunks::<LANES>();
    let (outs, out) = out.as_chunks_mut::<LANES>();
    for (((x, g), w), y) in rows.iter().zip(grads).zip(weights).zip(outs) {
        let (x, g, w) = (T::widen_lanes(x), T::widen_lanes(g), T::widen_lanes(w));
        let mut gradients = [0f32; LANES];
        for (lane, gradient) in gradients.iter_mut().enumerate() {
            *gradient = of(x[lane], g[lane], w[lane]);
        }
        *y = T::narrow_lanes(&gradients);
    }
    for (((x, g), w), y) in row.iter().zip(grad).zip(weight).zip(out) {
        *y = T::narrow(of(x.widen(), g.widen(), w.widen()));
    }
}

/// Adds up products of two rows, or three, in sums beside each other, which is what registers can add.
#[inline(always)]
#[expect(clippy::inline_always, reason = "compiled for each width of vectors")]
fn sum_of_products<T: Float>([a, b]: [&[T]; 2], c: Option<&[T]>) -> f32 {
    let mut sums = [0f32; LANES];
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    let (c, c_rest) = c.map(<[T]>::as_chunks::<LANES>).unwrap_or_default();
    for (index, (a, b)) in a.iter().zip(b).enumerate() {
        let (a, b) = (T::widen_lanes(a), T::widen_lanes(b));
        let c = c.get(index).map_or([1.0; LANES], T::widen_lanes);
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane] * c[lane];
        }
    }
    let rest = a_rest.iter().zip(b_rest).enumerate();
    let rest =
        rest.map(|(index, (a, b))| a.widen() * b.widen() * c_rest.get(index).map_or(1.0, |c| c.widen()));
    sum_of_lanes(sums) + rest.sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    fn random(shape: &[i64], kind: Kind) -> Tensor {
        Tensor::randn(shape, (Kind::Float, Device::Cpu)).to_kind(kind)
    }

    /// Returns the largest difference relative to the value.
    fn worst(ours: &Tensor, reference: &Tensor) -> f64 {
        let error = (ours - reference).abs() / (reference.abs() + 1e-2);
        if error.numel() == 0 { 0.0 } else { error.max().double_value(&[]) }
    }

    #[test]
    fn one_pass_equals_libtorchs_operations_for_every_kind_and_number_of_rows() {
        tch::manual_seed(3);
        for (kind, tolerance) in [(Kind::Float, 1e-6), (Kind::BFloat16, 1.6e-2), (Kind::Half, 2e-3)] {
            for (rows, width) in [(1, 2048), (3, 77), (8, 16), (0, 4), (300, 576)] {
                let (xs, weight) = (random(&[rows, 1, width], kind) * 3, random(&[width], kind));
                let ours = rms_norm(&xs, &weight, 1e-5).unwrap();
                let reference = by_operations(&xs, &weight, 1e-5).unwrap();
                assert_eq!((ours.size(), ours.kind()), (reference.size(), kind));
                // The two may differ by one rounding.
                assert!(worst(&ours, &reference) <= tolerance, "{kind:?} {rows}x{width}");
            }
        }
    }

    /// The gradient is that of libtorch's operations in float64, for every kind.
    #[test]
    fn the_gradient_equals_that_of_the_operations_in_float64() {
        tch::manual_seed(4);
        for (kind, tolerance) in [(Kind::Float, 1e-5), (Kind::BFloat16, 2e-2), (Kind::Half, 3e-3)] {
            for (rows, width) in [(1, 8), (5, 77), (300, 64)] {
                let xs = (random(&[rows, width], kind) * 2).set_requires_grad(true);
                let (weight, grad) = (random(&[width], kind), random(&[rows, width], kind));
                (rms_norm(&xs, &weight, 1e-5).unwrap() * &grad).sum(Kind::Float).backward();
                let exact = xs.detach().to_kind(Kind::Double).set_requires_grad(true);
                let double = |xs: &Tensor| xs.to_kind(Kind::Double);
                let normed = exact.rms_norm([width], None::<&Tensor>, 1e-5) * double(&weight);
                (normed * double(&grad)).sum(Kind::Double).backward();
                let error = (double(&xs.grad()) - exact.grad()).abs().max().double_value(&[]);
                let size = exact.grad().abs().max().double_value(&[]);
                assert!(error <= tolerance * size, "{kind:?} {rows}x{width}: {error} of {size}");
            }
        }
    }

    #[test]
    fn a_weight_that_trains_and_other_shapes_are_left_to_libtorch() {
        let (xs, weight) = (random(&[2, 8], Kind::Float), random(&[8], Kind::Float));
        let weight = weight.set_requires_grad(true);
        rms_norm(&xs, &weight, 1e-5).unwrap().sum(Kind::Float).backward();
        assert!(weight.grad().defined());
        let half = random(&[2, 8], Kind::BFloat16);
        assert_eq!(rms_norm(&half, &weight, 1e-5).unwrap().kind(), Kind::Float);
        assert!(rms_norm(&random(&[2, 7], Kind::Float), &weight, 1e-5).is_err());
        let weight = weight.detach();
        let across = random(&[8, 2], Kind::Float).transpose(0, 1);
        let (ours, reference) =
            (rms_norm(&across, &weight, 1e-5).unwrap(), by_operations(&across, &weight, 1e-5).unwrap());
        assert!(ours.equal(&reference));
    }
}
