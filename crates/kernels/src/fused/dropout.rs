//! Dropout by itself.

use tch::{Device, TchError, Tensor};
use torch_ext::{Generator, custom};

use super::gradient::as_torch;
use super::mask::{Dropout, RowMask};
use super::outputs::filled;
use super::passes::Passes;
use crate::element::{Float, LANES, for_kind, times};
use crate::gpu::{self, Pass};
use crate::memory::elements;
use crate::widest::widest;

impl Dropout {
    /// Applies it to `xs`, `[.., C]`. Gradients flow to `xs`.
    ///
    /// # Errors
    /// libtorch's, when memory is short.
    pub fn apply(self, xs: &Tensor) -> Result<Tensor, TchError> {
        let xs = xs.f_contiguous()?;
        let passes = if xs.dim() == 0 { Passes::Operations } else { Passes::of(&[&xs], &[Pass::Dropout]) };
        if passes == Passes::Operations {
            if xs.device() == Device::Cpu {
                return Err(TchError::Torch(format!("dropout of {:?} of {:?}", xs.size(), xs.kind())));
            }
            return Generator::new(xs.device(), self.seed >> 1)?.dropout(&xs, self.p);
        }
        if !xs.requires_grad() {
            return self.masked(passes, &xs);
        }
        custom(&xs, move |xs| self.masked(passes, xs), move |grad| self.masked(passes, &grad.f_contiguous()?))
            .map_err(as_torch)
    }

    /// Puts zeros into `xs`, `[.., C]`; into a gradient in the same places.
    pub(super) fn masked(self, passes: Passes, xs: &Tensor) -> Result<Tensor, TchError> {
        let other = || Err(TchError::Kind(format!("dropout of {:?}", xs.kind())));
        match passes {
            Passes::Kernels => gpu::dropout(xs, self),
            _ => for_kind!(xs.kind(), masked_rows(xs, self), other()),
        }
    }
}

fn masked_rows<T: Float>(xs: &Tensor, dropout: Dropout) -> Result<Tensor, TchError> {
    let width = xs.size().last().map_or(1, |&width| width as usize);
    let inputs = elements::<T>(xs);
    filled::<T>(xs, width, |place, out| {
        mask_rows(&inputs[place..place + out.len()], width, dropout, place / width, out);
    })
}

widest! {
fn mask_rows<T: Float>(inputs: &[T], width: usize, dropout: Dropout, first: usize, out: &mut [T]) {
    let rows = inputs.chunks_exact(width).zip(out.chunks_exact_mut(width));
    for (index, (row, out)) in rows.enumerate() {
        mask_row(row, &dropout.row(first + index), out);
    }
}
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "compiled for each width of vectors")]
fn mask_row<T: Float>(row: &[T], mask: &RowMask, out: &mut [T]) {
    let whole = row.len() / LANES * LANES;
    let (rows, rest) = row.as_chunks::<LANES>();
    let (outs, out_rest) = out.as_chunks_mut::<LANES>();
    for (index, (x, y)) in rows.iter().zip(outs).enumerate() {
        let (x, factors) = (T::widen_lanes(x), mask.lanes(index * LANES));
        *y = T::narrow_lanes(&times(&x, &factors));
    }
    let factors = mask.lanes(whole);
    for ((x, y), factor) in rest.iter().zip(out_rest).zip(factors) {
        *y = T::narrow(x.widen() * factor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Kind;

    fn dropped(rows: i64, width: i64, p: f64, seed: u64) -> Tensor {
        let ones = Tensor::ones([rows, width], (Kind::Float, Device::Cpu));
        Dropout { p, seed }.apply(&ones).unwrap()
    }

    fn share_of_zeros(xs: &Tensor) -> Tensor {
        xs.eq(0.0).to_kind(Kind::Double)
    }

    /// Within five standard deviations, over all, by row and by column.
    #[test]
    fn the_share_of_zeros_is_the_probability_and_the_rest_is_scaled() {
        let (rows, width) = (700, 501);
        for (p, seed) in [(0.05, 1), (0.5, 2), (0.9, u64::MAX), (0.0, 3)] {
            let xs = dropped(rows, width, p, seed);
            let zeros = share_of_zeros(&xs);
            let near = |share: Tensor, count: i64| {
                let worst = (share - p).abs().max().double_value(&[]);
                assert!(worst <= 5.0 * (p * (1.0 - p) / count as f64).sqrt(), "{p} {seed}: {worst}");
            };
            near(zeros.mean(Kind::Double), rows * width);
            near(zeros.mean_dim(0i64, false, Kind::Double), rows);
            near(zeros.mean_dim(1i64, false, Kind::Double), width);
            let kept = xs.masked_select(&xs.ne(0.0));
            assert!((kept * (1.0 - p) - 1.0).abs().max().double_value(&[]) < 1e-6);
        }
    }

    /// Neighbouring rows, columns and seeds are independent: two of them are zero together with the probability `p²`.
    #[test]
    fn zeros_of_neighbours_are_independent() {
        let p = 0.3;
        let zeros = |seed| share_of_zeros(&dropped(500, 512, p, seed));
        let (here, other) = (zeros(7), zeros(8));
        let pairs = [
            (here.narrow(0, 0, 499), here.narrow(0, 1, 499)),
            (here.narrow(1, 0, 511), here.narrow(1, 1, 511)),
            (here.narrow(1, 0, 496), here.narrow(1, 16, 496)),
            (here.shallow_clone(), other),
        ];
        for (a, b) in pairs {
            let both = (a * b).mean(Kind::Double).double_value(&[]);
            assert!((both - p * p).abs() < 5.0 * (p * p * (1.0 - p * p) / 250_000.0).sqrt(), "{both}");
        }
    }

    #[test]
    fn the_gradient_has_the_zeros_and_the_scale_of_the_pass() {
        for kind in [Kind::Float, Kind::BFloat16] {
            let xs = Tensor::ones([40, 3, 21], (kind, Device::Cpu)).set_requires_grad(true);
            let ys = Dropout { p: 0.25, seed: 5 }.apply(&xs).unwrap();
            ys.sum(Kind::Float).backward();
            assert_eq!(xs.grad(), ys.detach());
        }
    }
}
