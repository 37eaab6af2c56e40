//! Types of numbers that tensors hold.
#![expect(
    clippy::inline_always,
    reason = "conversions of lanes are to take on the instructions of their caller"
)]

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use tch::Kind;

/// Numbers that are worked on at once.
pub(crate) const LANES: usize = 16;

/// Multiplies lanes.
#[inline(always)]
pub(crate) fn times(xs: &[f32; LANES], ys: &[f32; LANES]) -> [f32; LANES] {
    let mut products = *xs;
    for (product, y) in products.iter_mut().zip(ys) {
        *product *= y;
    }
    products
}

/// Fills lanes with the last numbers, fewer than there are lanes, and zeros.
#[inline(always)]
pub(crate) fn filled_up<T: Element>(rest: &[T]) -> [T; LANES] {
    let mut lanes = [T::default(); LANES];
    lanes[..rest.len()].copy_from_slice(rest);
    lanes
}

/// Adds lanes up in pairs.
#[inline(always)]
pub(crate) fn sum_of_lanes(mut lanes: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// A type of numbers as it lies in a tensor's memory.
pub(crate) trait Element: Copy + Default + Send + Sync + 'static {
    /// The kind of such a tensor.
    const KIND: Kind;
}

impl Element for u8 {
    const KIND: Kind = Kind::Uint8;
}

impl Element for i8 {
    const KIND: Kind = Kind::Int8;
}

impl Element for f32 {
    const KIND: Kind = Kind::Float;
}

impl Element for bf16 {
    const KIND: Kind = Kind::BFloat16;
}

impl Element for f16 {
    const KIND: Kind = Kind::Half;
}

/// A floating-point type, which is computed with in float32.
pub(crate) trait Float: Element {
    /// Converts to float32.
    fn widen(self) -> f32;
    /// Rounds to nearest, ties to even.
    fn narrow(x: f32) -> Self;
    /// Widens as [`Self::widen`] does, in a loop that becomes instructions for vectors.
    fn widen_lanes(from: &[Self; LANES]) -> [f32; LANES];
    /// Narrows as [`Self::narrow`] does, in a loop that becomes instructions for vectors.
    fn narrow_lanes(from: &[f32; LANES]) -> [Self; LANES];
}

impl Float for f32 {
    #[inline]
    fn widen(self) -> f32 {
        self
    }
    #[inline]
    fn narrow(x: f32) -> Self {
        x
    }
    #[inline(always)]
    fn widen_lanes(from: &[Self; LANES]) -> [f32; LANES] {
        *from
    }
    #[inline(always)]
    fn narrow_lanes(from: &[f32; LANES]) -> [Self; LANES] {
        *from
    }
}

impl Float for bf16 {
    #[inline]
    fn widen(self) -> f32 {
        self.to_f32()
    }
    #[inline]
    fn narrow(x: f32) -> Self {
        Self::from_f32(x)
    }
    #[inline(always)]
    fn widen_lanes(from: &[Self; LANES]) -> [f32; LANES] {
        let mut to = [0.0; LANES];
        for (to, from) in to.iter_mut().zip(from) {
            *to = f32::from_bits(u32::from(from.to_bits()) << 16);
        }
        to
    }
    /// Narrows without a branch.
    #[inline(always)]
    fn narrow_lanes(from: &[f32; LANES]) -> [Self; LANES] {
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

impl Float for f16 {
    #[inline]
    fn widen(self) -> f32 {
        self.to_f32()
    }
    #[inline]
    fn narrow(x: f32) -> Self {
        Self::from_f32(x)
    }
    #[inline(always)]
    fn widen_lanes(from: &[Self; LANES]) -> [f32; LANES] {
        let mut to = [0.0; LANES];
        from.convert_to_f32_slice(&mut to);
        to
    }
    #[inline(always)]
    fn narrow_lanes(from: &[f32; LANES]) -> [Self; LANES] {
        let mut to = [Self::ZERO; LANES];
        to.convert_from_f32_slice(from);
        to
    }
}

/// Calls a function of a floating-point type for a kind, and `otherwise` for kinds that are none.
macro_rules! for_kind {
    ($kind:expr, $call:ident($($arg:expr),*), $otherwise:expr) => {
        match $kind {
            tch::Kind::Float => $call::<f32>($($arg),*),
            tch::Kind::BFloat16 => $call::<half::bf16>($($arg),*),
            tch::Kind::Half => $call::<half::f16>($($arg),*),
            _ => $otherwise,
        }
    };
}
pub(crate) use for_kind;
