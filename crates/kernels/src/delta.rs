//! The sum `W + ΔW` of some rows and its statistics, in one pass.
#![expect(clippy::inline_always, reason = "the loops are to take on the instructions of their caller")]

use std::any::TypeId;
use std::sync::{Mutex, PoisonError};

use half::{bf16, f16};
use tch::{Device, Kind, TchError, Tensor};

use crate::element::{Float, LANES, filled_up};
use crate::memory::{Chunks, elements, elements_mut, share_out};
use crate::widest::widest;

/// Elements of one task: their squares are summed in float32.
const BLOCK: usize = 2048;

/// Sums over the elements of one addition.
#[derive(Debug, Clone, Copy)]
pub struct DeltaSums {
    /// Squares of the delta, added up.
    pub delta: f64,
    /// Squares of the base, added up.
    pub base: f64,
    /// Elements that differ from the rounded base.
    pub changed: u64,
    /// True when every result is finite.
    pub finite: bool,
}

impl Default for DeltaSums {
    /// Returns the sums of no element.
    fn default() -> Self {
        Self { delta: 0.0, base: 0.0, changed: 0, finite: true }
    }
}

/// Adds `scale` times `product`, float32, to `base` of the same shape, in any of the three precisions, on the CPU. Delta and
/// sum are taken in float32, one after the other as PEFT does, and the sum is rounded once, to `kind`.
///
/// # Errors
/// [`TchError::Shape`] when the shapes differ, and libtorch's when there is not the memory.
pub fn add_delta(
    base: &Tensor,
    product: &Tensor,
    scale: f64,
    kind: Kind,
) -> Result<(Tensor, DeltaSums), TchError> {
    let scale = scale as f32;
    match base.kind() {
        Kind::BFloat16 => add_to::<bf16>(base, product, scale, kind),
        Kind::Half => add_to::<f16>(base, product, scale, kind),
        _ => add_to::<f32>(&base.f_to_kind(Kind::Float)?, product, scale, kind),
    }
}

fn add_to<B: Float>(
    base: &Tensor,
    product: &Tensor,
    scale: f32,
    kind: Kind,
) -> Result<(Tensor, DeltaSums), TchError> {
    match kind {
        Kind::BFloat16 => pass::<B, bf16>(base, product, scale, kind),
        Kind::Half => pass::<B, f16>(base, product, scale, kind),
        _ => pass::<B, f32>(base, product, scale, Kind::Float),
    }
}

fn pass<B: Float, O: Float>(
    base: &Tensor,
    product: &Tensor,
    scale: f32,
    kind: Kind,
) -> Result<(Tensor, DeltaSums), TchError> {
    if base.size() != product.size() {
        let text = format!("a delta of {:?} for a weight of {:?}", product.size(), base.size());
        return Err(TchError::Shape(text));
    }
    let (base, product) = (base.f_contiguous()?, product.f_contiguous()?);
    let mut output = Tensor::f_empty(base.size(), (kind, Device::Cpu))?;
    let (weights, products) = (elements::<B>(&base), elements::<f32>(&product));
    let total = Mutex::new(DeltaSums::default());
    share_out(
        Chunks::new(elements_mut::<O>(&mut output), BLOCK),
        DeltaSums::default,
        |seen, block, out| {
            let range = block * BLOCK..block * BLOCK + out.len();
            add_block(&weights[range.clone()], &products[range], scale, out, seen);
        },
        |seen| {
            let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
            total.delta += seen.delta;
            total.base += seen.base;
            total.changed += seen.changed;
            total.finite &= seen.finite;
        },
    );
    let seen = total.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok((output, seen))
}

widest! {
/// Adds in plain loops over lanes, which the compiler turns into whatever vectors it may use.
fn add_block<B: Float, O: Float>(
    base: &[B],
    product: &[f32],
    scale: f32,
    out: &mut [O],
    seen: &mut DeltaSums,
) {
    let mut lanes = Lanes::default();
    let (bases, base_rest) = base.as_chunks::<LANES>();
    let (products, product_rest) = product.as_chunks::<LANES>();
    let (outs, out_rest) = out.as_chunks_mut::<LANES>();
    for ((base, product), out) in bases.iter().zip(products).zip(outs) {
        *out = lanes.add::<B, O>(base, product, scale);
    }
    if !base_rest.is_empty() {
        // Zeros add nothing to what is seen.
        let sums = lanes.add::<B, O>(&filled_up(base_rest), &filled_up(product_rest), scale);
        out_rest.copy_from_slice(&sums[..out_rest.len()]);
    }
    seen.delta += lanes.delta.into_iter().map(f64::from).sum::<f64>();
    seen.base += lanes.base.into_iter().map(f64::from).sum::<f64>();
    seen.changed += lanes.changed.into_iter().map(u64::from).sum::<u64>();
    seen.finite &= lanes.largest.into_iter().all(|bits| bits < f32::INFINITY.to_bits());
}
}

/// [`DeltaSums`] of a block, by lane: additions that need not wait for each other.
#[derive(Default)]
struct Lanes {
    delta: [f32; LANES],
    base: [f32; LANES],
    changed: [u32; LANES],
    /// Bits of the largest magnitude among the results; NaN is larger than infinity.
    largest: [u32; LANES],
}

impl Lanes {
    #[inline(always)]
    fn add<B: Float, O: Float>(
        &mut self,
        base: &[B; LANES],
        product: &[f32; LANES],
        scale: f32,
    ) -> [O; LANES] {
        let before = B::widen_lanes(base);
        let (mut delta, mut sum) = (*product, before);
        for lane in 0..LANES {
            delta[lane] *= scale;
            sum[lane] += delta[lane];
        }
        let out = O::narrow_lanes(&sum);
        let after = O::widen_lanes(&out);
        let unmerged = if TypeId::of::<B>() == TypeId::of::<O>() {
            before
        } else {
            O::widen_lanes(&O::narrow_lanes(&before))
        };
        for lane in 0..LANES {
            self.delta[lane] += delta[lane] * delta[lane];
            self.base[lane] += before[lane] * before[lane];
            self.changed[lane] += u32::from(after[lane].to_bits() != unmerged[lane].to_bits());
            self.largest[lane] = self.largest[lane].max(after[lane].to_bits() & !(1 << 31));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares with libtorch's own arithmetic, in every pair of precisions, over blocks that do not come out even.
    #[test]
    fn sums_equal_libtorchs_operations_in_every_pair_of_precisions() {
        tch::manual_seed(5);
        let kinds = [Kind::Float, Kind::BFloat16, Kind::Half];
        let product = Tensor::randn([7, 401], (Kind::Float, Device::Cpu));
        let delta = &product * 0.01;
        for (from, to) in kinds.into_iter().flat_map(|from| kinds.map(|to| (from, to))) {
            let base = Tensor::randn([7, 401], (Kind::Float, Device::Cpu)).to_kind(from);
            let (sum, seen) = add_delta(&base, &product, 0.01, to).unwrap();
            let exact = base.to_kind(Kind::Float);
            let plain = (&exact + &delta).to_kind(to);
            assert_eq!(sum, plain, "{from:?} to {to:?}");
            let changed = plain.ne_tensor(&exact.to_kind(to)).sum(Kind::Int64).int64_value(&[]);
            assert_eq!((seen.changed as i64, seen.finite), (changed, true));
            let norm = |xs: &Tensor| (xs * xs).sum(Kind::Double).double_value(&[]);
            assert!((seen.delta / norm(&delta) - 1.0).abs() < 1e-5);
            assert!((seen.base / norm(&exact) - 1.0).abs() < 1e-5);
        }
    }

    #[test]
    fn nan_and_infinity_are_reported_and_kept() {
        for (value, to) in [(f64::NAN, Kind::BFloat16), (f64::INFINITY, Kind::Half), (1e6, Kind::Half)] {
            let base = Tensor::full([3, 5], value, (Kind::Float, Device::Cpu));
            let (sum, seen) = add_delta(&base, &Tensor::zeros_like(&base), 2.0, to).unwrap();
            assert!(!seen.finite && !bool::try_from(sum.isfinite().any()).unwrap(), "{value} {to:?}");
        }
    }
}
