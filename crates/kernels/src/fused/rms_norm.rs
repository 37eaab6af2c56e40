//! Root-mean-square norm.

use tch::{Kind, TchError, Tensor};

use super::outputs::{MOST_ROWS, filled, plain};
use crate::element::{Float, for_kind};
use crate::memory::elements;

/// Applies `RMSNorm` (Zhang and Sennrich, 2019, arXiv 1910.07467): `x / sqrt(mean(x²) + eps) · weight`, `xs` `[.., C]` and `weight`
/// `[C]` to `[.., C]`. The norm in float32, rounded to the kind of `xs` before it meets the weight, as transformers'
/// `LlamaRMSNorm` has it.
///
/// On a CPU, for up to 8 rows that need no gradient, in one pass; equal to libtorch's operations up to the order of the sum.
///
/// # Errors
/// libtorch's, when shapes or kinds do not fit.
pub fn rms_norm(xs: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor, TchError> {
    let width = weight.size();
    let fits = width.len() == 1
        && width[0] > 0
        && xs.size().last() == width.first()
        && xs.numel() as i64 / width[0] <= MOST_ROWS
        && plain(&[xs, weight]);
    if fits {
        for_kind!(xs.kind(), in_one_pass(xs, weight, eps), by_operations(xs, weight, eps))
    } else {
        by_operations(xs, weight, eps)
    }
}

fn by_operations(xs: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor, TchError> {
    let normed = xs.f_to_kind(Kind::Float)?.f_rms_norm(weight.size(), None::<&Tensor>, Some(eps))?;
    normed.f_to_kind(xs.kind())?.f_mul(weight)
}

fn in_one_pass<T: Float>(xs: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor, TchError> {
    let (inputs, weight) = (elements::<T>(xs), elements::<T>(weight));
    filled::<T>(xs, |out| {
        for (row, out) in inputs.chunks_exact(weight.len()).zip(out.chunks_exact_mut(weight.len())) {
            let mean = sum_of_squares(row) / row.len() as f32;
            let scale = 1.0 / (mean + eps as f32).sqrt();
            for ((y, x), w) in out.iter_mut().zip(row).zip(weight) {
                *y = T::narrow(T::narrow(x.widen() * scale).widen() * w.widen());
            }
        }
    })
}

/// Adds up squares in 16 sums beside each other, which is what registers can add.
fn sum_of_squares<T: Float>(row: &[T]) -> f32 {
    let mut sums = [0f32; 16];
    let (lanes, rest) = row.as_chunks::<16>();
    for lane in lanes {
        for (sum, x) in sums.iter_mut().zip(lane) {
            *sum += x.widen() * x.widen();
        }
    }
    sums.iter().sum::<f32>() + rest.iter().map(|x| x.widen() * x.widen()).sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    #[test]
    fn one_pass_equals_libtorchs_operations_for_every_kind_and_number_of_rows() {
        tch::manual_seed(3);
        for (kind, tolerance) in [(Kind::Float, 1e-6), (Kind::BFloat16, 1.6e-2), (Kind::Half, 2e-3)] {
            for (rows, width) in [(1, 2048), (3, 77), (8, 16), (0, 4)] {
                let random = |shape: &[i64]| Tensor::randn(shape, (Kind::Float, Device::Cpu)).to_kind(kind);
                let (xs, weight) = (random(&[rows, 1, width]) * 3, random(&[width]));
                let ours = rms_norm(&xs, &weight, 1e-5).unwrap();
                let reference = by_operations(&xs, &weight, 1e-5).unwrap();
                assert_eq!((ours.size(), ours.kind()), (reference.size(), kind));
                // Of one rounding more or less, relative to the value.
                let error = (&ours - &reference).abs() / (reference.abs() + 1e-3);
                let worst = if rows == 0 { 0.0 } else { error.max().double_value(&[]) };
                assert!(worst <= tolerance, "{kind:?} {rows}x{width}: {worst}");
            }
        }
    }

    #[test]
    fn other_shapes_are_left_to_libtorch() {
        let options = (Kind::Float, Device::Cpu);
        let (xs, weight) = (Tensor::randn([2, 8], options), Tensor::randn([8], options));
        let trained = xs.set_requires_grad(true);
        assert!(rms_norm(&trained, &weight, 1e-5).unwrap().requires_grad());
        let half = Tensor::randn([2, 8], options).to_kind(Kind::BFloat16);
        assert_eq!(rms_norm(&half, &weight, 1e-5).unwrap().kind(), Kind::Float);
        assert!(rms_norm(&Tensor::randn([2, 7], options), &weight, 1e-5).is_err());
        let across = Tensor::randn([8, 2], options).transpose(0, 1);
        let (ours, reference) =
            (rms_norm(&across, &weight, 1e-5).unwrap(), by_operations(&across, &weight, 1e-5).unwrap());
        assert!(ours.equal(&reference));
    }
}
