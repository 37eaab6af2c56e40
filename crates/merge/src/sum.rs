//! `W + ΔW` of some rows, and what is to be known of it, in one pass.
#![expect(unsafe_code, reason = "tensors as slices, which threads share out")]
#![expect(clippy::inline_always, reason = "the loops are to take on the instructions of their caller")]

use std::any::TypeId;
use std::sync::{Mutex, PoisonError};

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use nn_core::{NnError, TorchContext};
use tch::{Device, Kind, Tensor};
use torch_ext::parallel;

use crate::MergeError;

/// Elements that one pass holds as float32; they stay in a core's first cache.
const BLOCK: usize = 1024;

/// What was seen of some elements.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sums {
    /// Of squares of the delta.
    pub(crate) delta: f64,
    /// Of squares of the base.
    pub(crate) base: f64,
    /// Elements that differ from the rounded base.
    pub(crate) changed: u64,
    /// Whether every result is finite.
    pub(crate) finite: bool,
}

/// A precision of weights.
trait Element: Copy + Send + Sync + 'static {
    fn widen(from: &[Self], to: &mut [f32]);
    fn round(from: &[f32], to: &mut [Self]);
}

impl Element for f32 {
    #[inline(always)]
    fn widen(from: &[Self], to: &mut [f32]) {
        to.copy_from_slice(from);
    }
    #[inline(always)]
    fn round(from: &[f32], to: &mut [Self]) {
        to.copy_from_slice(from);
    }
}

impl Element for bf16 {
    #[inline(always)]
    fn widen(from: &[Self], to: &mut [f32]) {
        for (from, to) in from.iter().zip(to) {
            *to = f32::from_bits(u32::from(from.to_bits()) << 16);
        }
    }
    /// To the nearest, ties to even, without a branch.
    #[inline(always)]
    fn round(from: &[f32], to: &mut [Self]) {
        for (from, to) in from.iter().zip(to) {
            let bits = from.to_bits();
            let nearest = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
            *to = Self::from_bits(if from.is_nan() { 0x7fc0 } else { nearest as u16 });
        }
    }
}

impl Element for f16 {
    #[inline(always)]
    fn widen(from: &[Self], to: &mut [f32]) {
        from.convert_to_f32_slice(to);
    }
    #[inline(always)]
    fn round(from: &[f32], to: &mut [Self]) {
        to.convert_from_f32_slice(from);
    }
}

/// `base` of any of the three precisions plus `delta`, float32 of the same shape; the sum is taken in float32 and rounded
/// once, to `kind`.
pub(crate) fn add(base: &Tensor, delta: &Tensor, kind: Kind) -> Result<(Tensor, Sums), MergeError> {
    match base.kind() {
        Kind::BFloat16 => add_to::<bf16>(base, delta, kind),
        Kind::Half => add_to::<f16>(base, delta, kind),
        _ => add_to::<f32>(&base.f_to_kind(Kind::Float).op("to_kind")?, delta, kind),
    }
}

fn add_to<B: Element>(base: &Tensor, delta: &Tensor, kind: Kind) -> Result<(Tensor, Sums), MergeError> {
    match kind {
        Kind::BFloat16 => pass::<B, bf16>(base, delta, kind),
        Kind::Half => pass::<B, f16>(base, delta, kind),
        _ => pass::<B, f32>(base, delta, Kind::Float),
    }
}

/// Where the threads write, each its own elements.
struct Shared<O>(*mut O);
// SAFETY: no two tasks write to the same place.
unsafe impl<O> Sync for Shared<O> {}

fn pass<B: Element, O: Element>(
    base: &Tensor,
    delta: &Tensor,
    kind: Kind,
) -> Result<(Tensor, Sums), MergeError> {
    if base.size() != delta.size() {
        let name = "delta".to_owned();
        return Err(NnError::Shape { name, actual: delta.size(), expected: base.size() }.into());
    }
    let (base, delta) = (base.f_contiguous().op("contiguous")?, delta.f_contiguous().op("contiguous")?);
    let output = Tensor::f_empty(base.size(), (kind, Device::Cpu)).op("empty")?;
    let len = base.numel();
    // SAFETY: contiguous, on the CPU, of these kinds and this length, and alive until the end of this function.
    let (weights, changes) = unsafe {
        (
            std::slice::from_raw_parts(base.data_ptr().cast::<B>(), len),
            std::slice::from_raw_parts(delta.data_ptr().cast::<f32>(), len),
        )
    };
    let shared = &Shared(output.data_ptr().cast::<O>());
    let total = Mutex::new(Sums { finite: true, ..Sums::default() });
    parallel(len.div_ceil(BLOCK), |blocks| {
        let mut seen = Sums { finite: true, ..Sums::default() };
        for block in blocks {
            let range = block * BLOCK..((block + 1) * BLOCK).min(len);
            // SAFETY: these elements of `output` are of this block alone.
            let out = unsafe { std::slice::from_raw_parts_mut(shared.0.add(range.start), range.len()) };
            add_block(&weights[range.clone()], &changes[range], out, &mut seen);
        }
        let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
        total.delta += seen.delta;
        total.base += seen.base;
        total.changed += seen.changed;
        total.finite &= seen.finite;
    });
    let seen = total.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok((output, seen))
}

fn add_block<B: Element, O: Element>(base: &[B], delta: &[f32], out: &mut [O], seen: &mut Sums) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") {
        #[target_feature(enable = "avx2")]
        unsafe fn wide<B: Element, O: Element>(base: &[B], delta: &[f32], out: &mut [O], seen: &mut Sums) {
            add_elements(base, delta, out, seen);
        }
        // SAFETY: the instructions are there.
        return unsafe { wide(base, delta, out, seen) };
    }
    add_elements(base, delta, out, seen);
}

/// Plain loops, which the compiler turns into whatever vectors its caller may use.
#[inline(always)]
fn add_elements<B: Element, O: Element>(base: &[B], delta: &[f32], out: &mut [O], seen: &mut Sums) {
    let len = base.len();
    let (mut before, mut sum) = ([0.0f32; BLOCK], [0.0f32; BLOCK]);
    let (before, sum) = (&mut before[..len], &mut sum[..len]);
    B::widen(base, before);
    seen.base += squares(before);
    seen.delta += squares(delta);
    for ((sum, x), d) in sum.iter_mut().zip(before.iter()).zip(delta) {
        *sum = x + d;
    }
    if TypeId::of::<B>() != TypeId::of::<O>() {
        O::round(before, out);
        O::widen(out, before);
    }
    O::round(sum, out);
    O::widen(out, sum);
    seen.finite &= sum.iter().fold(true, |finite, x| finite & x.is_finite());
    let differ = sum
        .iter()
        .zip(before.iter())
        .fold(0u32, |count, (a, b)| count + u32::from(a.to_bits() != b.to_bits()));
    seen.changed += u64::from(differ);
}

/// Sixteen sums beside each other: additions that need not wait for each other.
#[inline(always)]
fn squares(xs: &[f32]) -> f64 {
    let mut sums = [0.0f32; 16];
    let (parts, rest) = xs.as_chunks::<16>();
    for part in parts {
        for (sum, x) in sums.iter_mut().zip(part) {
            *sum += x * x;
        }
    }
    sums.into_iter().chain(rest.iter().map(|x| x * x)).map(f64::from).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against libtorch's own arithmetic, in every pair of precisions, over blocks that do not come out even.
    #[test]
    fn the_pass_equals_the_plain_operations() {
        tch::manual_seed(5);
        let kinds = [Kind::Float, Kind::BFloat16, Kind::Half];
        let delta = Tensor::randn([7, 401], (Kind::Float, Device::Cpu)) * 0.01;
        for (from, to) in kinds.into_iter().flat_map(|from| kinds.map(|to| (from, to))) {
            let base = Tensor::randn([7, 401], (Kind::Float, Device::Cpu)).to_kind(from);
            let (sum, seen) = add(&base, &delta, to).unwrap();
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
    fn nan_and_infinity_are_seen_and_kept() {
        for (value, to) in [(f64::NAN, Kind::BFloat16), (f64::INFINITY, Kind::Half), (1e6, Kind::Half)] {
            let base = Tensor::full([3, 5], value, (Kind::Float, Device::Cpu));
            let (sum, seen) = add(&base, &Tensor::zeros_like(&base), to).unwrap();
            assert!(!seen.finite && !bool::try_from(sum.isfinite().any()).unwrap(), "{value} {to:?}");
        }
    }
}
