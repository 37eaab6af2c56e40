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

/// Elements of one task: their squares are summed in float32.
const BLOCK: usize = 2048;

/// Elements that are worked on at once.
const LANES: usize = 16;

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
    const ZERO: Self;
    fn widen(from: &[Self; LANES]) -> [f32; LANES];
    fn round(from: &[f32; LANES]) -> [Self; LANES];
}

impl Element for f32 {
    const ZERO: Self = 0.0;
    #[inline(always)]
    fn widen(from: &[Self; LANES]) -> [f32; LANES] {
        *from
    }
    #[inline(always)]
    fn round(from: &[f32; LANES]) -> [Self; LANES] {
        *from
    }
}

impl Element for bf16 {
    const ZERO: Self = Self::ZERO;
    #[inline(always)]
    fn widen(from: &[Self; LANES]) -> [f32; LANES] {
        let mut to = [0.0; LANES];
        for (to, from) in to.iter_mut().zip(from) {
            *to = f32::from_bits(u32::from(from.to_bits()) << 16);
        }
        to
    }
    /// To the nearest, ties to even, without a branch.
    #[inline(always)]
    fn round(from: &[f32; LANES]) -> [Self; LANES] {
        let mut to = [Self::ZERO; LANES];
        for (to, from) in to.iter_mut().zip(from) {
            let bits = from.to_bits();
            let nearest = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
            let nan = u32::from(bits << 1 > f32::INFINITY.to_bits() << 1).wrapping_neg();
            *to = Self::from_bits(((nearest & !nan) | (0x7fc0 & nan)) as u16);
        }
        to
    }
}

impl Element for f16 {
    const ZERO: Self = Self::ZERO;
    #[inline(always)]
    fn widen(from: &[Self; LANES]) -> [f32; LANES] {
        let mut to = [0.0; LANES];
        from.convert_to_f32_slice(&mut to);
        to
    }
    #[inline(always)]
    fn round(from: &[f32; LANES]) -> [Self; LANES] {
        let mut to = [Self::ZERO; LANES];
        to.convert_from_f32_slice(from);
        to
    }
}

/// `base` of any of the three precisions plus `scale` times `product`, float32 of the same shape. Delta and sum are taken
/// in float32, one after the other as PEFT does, and the sum is rounded once, to `kind`.
pub(crate) fn add(
    base: &Tensor,
    product: &Tensor,
    scale: f64,
    kind: Kind,
) -> Result<(Tensor, Sums), MergeError> {
    let scale = scale as f32;
    match base.kind() {
        Kind::BFloat16 => add_to::<bf16>(base, product, scale, kind),
        Kind::Half => add_to::<f16>(base, product, scale, kind),
        _ => add_to::<f32>(&base.f_to_kind(Kind::Float).op("to_kind")?, product, scale, kind),
    }
}

fn add_to<B: Element>(
    base: &Tensor,
    product: &Tensor,
    scale: f32,
    kind: Kind,
) -> Result<(Tensor, Sums), MergeError> {
    match kind {
        Kind::BFloat16 => pass::<B, bf16>(base, product, scale, kind),
        Kind::Half => pass::<B, f16>(base, product, scale, kind),
        _ => pass::<B, f32>(base, product, scale, Kind::Float),
    }
}

/// Where the threads write, each its own elements.
struct Shared<O>(*mut O);
// SAFETY: no two tasks write to the same place.
unsafe impl<O> Sync for Shared<O> {}

fn pass<B: Element, O: Element>(
    base: &Tensor,
    product: &Tensor,
    scale: f32,
    kind: Kind,
) -> Result<(Tensor, Sums), MergeError> {
    if base.size() != product.size() {
        let name = "delta".to_owned();
        return Err(NnError::Shape { name, actual: product.size(), expected: base.size() }.into());
    }
    let (base, product) = (base.f_contiguous().op("contiguous")?, product.f_contiguous().op("contiguous")?);
    let output = Tensor::f_empty(base.size(), (kind, Device::Cpu)).op("empty")?;
    let len = base.numel();
    // SAFETY: contiguous, on the CPU, of these kinds and this length, and alive until the end of this function.
    let (weights, products) = unsafe {
        (
            std::slice::from_raw_parts(base.data_ptr().cast::<B>(), len),
            std::slice::from_raw_parts(product.data_ptr().cast::<f32>(), len),
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
            add_block(&weights[range.clone()], &products[range], scale, out, &mut seen);
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

fn add_block<B: Element, O: Element>(
    base: &[B],
    product: &[f32],
    scale: f32,
    out: &mut [O],
    seen: &mut Sums,
) {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
        fn by_512<B: Element, O: Element>(b: &[B], p: &[f32], scale: f32, out: &mut [O], seen: &mut Sums) {
            add_elements(b, p, scale, out, seen);
        }
        #[target_feature(enable = "avx2")]
        fn by_256<B: Element, O: Element>(b: &[B], p: &[f32], scale: f32, out: &mut [O], seen: &mut Sums) {
            add_elements(b, p, scale, out, seen);
        }
        if is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
        {
            // SAFETY: the instructions are there.
            return unsafe { by_512(base, product, scale, out, seen) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the instructions are there.
            return unsafe { by_256(base, product, scale, out, seen) };
        }
    }
    add_elements(base, product, scale, out, seen);
}

/// Plain loops over lanes, which the compiler turns into whatever vectors its caller may use.
#[inline(always)]
fn add_elements<B: Element, O: Element>(
    base: &[B],
    product: &[f32],
    scale: f32,
    out: &mut [O],
    seen: &mut Sums,
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
        let (mut base, mut product) = ([B::ZERO; LANES], [0.0; LANES]);
        base[..base_rest.len()].copy_from_slice(base_rest);
        product[..product_rest.len()].copy_from_slice(product_rest);
        let sums = lanes.add::<B, O>(&base, &product, scale);
        out_rest.copy_from_slice(&sums[..out_rest.len()]);
    }
    seen.delta += lanes.delta.into_iter().map(f64::from).sum::<f64>();
    seen.base += lanes.base.into_iter().map(f64::from).sum::<f64>();
    seen.changed += lanes.changed.into_iter().map(u64::from).sum::<u64>();
    seen.finite &= lanes.largest.into_iter().all(|bits| bits < f32::INFINITY.to_bits());
}

/// [`Sums`] of a block, by lane: additions that need not wait for each other.
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
    fn add<B: Element, O: Element>(
        &mut self,
        base: &[B; LANES],
        product: &[f32; LANES],
        scale: f32,
    ) -> [O; LANES] {
        let before = B::widen(base);
        let (mut delta, mut sum) = (*product, before);
        for lane in 0..LANES {
            delta[lane] *= scale;
            sum[lane] += delta[lane];
        }
        let out = O::round(&sum);
        let after = O::widen(&out);
        let unmerged =
            if TypeId::of::<B>() == TypeId::of::<O>() { before } else { O::widen(&O::round(&before)) };
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

    /// Against libtorch's own arithmetic, in every pair of precisions, over blocks that do not come out even.
    #[test]
    fn the_pass_equals_the_plain_operations() {
        let mut generator = torch_ext::Generator::new(Device::Cpu, 5).unwrap();
        let mut random = || {
            let mut xs = Tensor::empty([7, 401], (Kind::Float, Device::Cpu));
            generator.normal_(&mut xs, 0.0, 1.0).unwrap();
            xs
        };
        let kinds = [Kind::Float, Kind::BFloat16, Kind::Half];
        let product = random();
        let delta = &product * 0.01;
        for (from, to) in kinds.into_iter().flat_map(|from| kinds.map(|to| (from, to))) {
            let base = random().to_kind(from);
            let (sum, seen) = add(&base, &product, 0.01, to).unwrap();
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
            let (sum, seen) = add(&base, &Tensor::zeros_like(&base), 2.0, to).unwrap();
            assert!(!seen.finite && !bool::try_from(sum.isfinite().any()).unwrap(), "{value} {to:?}");
        }
    }
}
