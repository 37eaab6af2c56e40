//! Loops of one thread over a row or a block, for each instruction set. Which one is used is decided at run time; the scalar
//! ones are the reference that the others are tested against.
//!
//! This directory uses nothing but `std`: `cargo xtask neon` compiles it alone, for a processor that libtorch is not there for.
#![expect(unsafe_code, reason = "std::arch, behind checks of what the processor has")]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
pub(crate) mod bf16;
#[cfg(not(target_arch = "x86_64"))]
#[path = "no_bf16.rs"]
pub(crate) mod bf16;
mod codes;
mod float;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
mod table;
#[cfg(test)]
mod tests;

use std::sync::OnceLock;

pub(crate) use codes::{Codes, Out, UNIT, padded};
pub(crate) use float::Format;
pub use table::CodeTable;

/// The most rows of inputs that one pass over a weight serves.
pub(crate) const MAX_ROWS: usize = 8;

/// An instruction set with kernels of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isa {
    Scalar,
    #[cfg(target_arch = "aarch64")]
    Neon,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Isa {
    /// Returns the widest instruction set that this processor has.
    pub(crate) fn best() -> Self {
        static BEST: OnceLock<Isa> = OnceLock::new();
        *BEST.get_or_init(|| Self::available().last().copied().unwrap_or(Self::Scalar))
    }

    /// Lists the instruction sets that this processor has, narrowest first.
    pub(crate) fn available() -> Vec<Self> {
        #[cfg_attr(not(any(target_arch = "x86_64", target_arch = "aarch64")), expect(unused_mut))]
        let mut all = vec![Self::Scalar];
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c")
        {
            all.push(Self::Avx2);
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
            {
                all.push(Self::Avx512);
            }
        }
        #[cfg(target_arch = "aarch64")]
        all.push(Self::Neon);
        all
    }

    /// Lanes of one register, in float32.
    fn lanes(self) -> usize {
        match self {
            Self::Scalar => 1,
            #[cfg(target_arch = "aarch64")]
            Self::Neon => 1,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => 8,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => 16,
        }
    }
}

/// Writes the numbers that `codes` stand for: `table[code] * scale` in float32, rounded to nearest even.
pub(crate) fn decode(isa: Isa, codes: Codes<'_>, mut out: Out<'_>) {
    let whole = if codes.skipped.is_multiple_of(UNIT) { out.len() / UNIT } else { 0 };
    assert!(codes.packed.len() >= whole * UNIT / 2, "fewer codes than numbers");
    let done = match isa {
        Isa::Scalar => 0,
        #[cfg(target_arch = "aarch64")]
        // SAFETY: every aarch64 processor has NEON; lengths are as asserted.
        Isa::Neon => unsafe { neon::decode(codes, whole, &mut out) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `available` has checked the features; lengths are as asserted.
        Isa::Avx2 => unsafe { avx2::decode(codes, whole, &mut out) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `available` has checked the features; lengths are as asserted.
        Isa::Avx512 => unsafe { avx512::decode(codes, whole, &mut out) },
    };
    scalar::decode(codes, done, &mut out);
}

/// Returns whether [`dot`] can be used for rows of `len` numbers in blocks of `block`.
pub(crate) fn dot_fits(len: usize, block: usize) -> bool {
    len.is_multiple_of(UNIT) && len.is_multiple_of(block)
}

/// Puts a row of inputs into the order in which [`dot`] meets the codes, `out`: `[padded(len)]`, zeros.
///
/// A register of `W` 32-bit lanes holds `8 W` codes, eight in each lane. Shifting all lanes right by `4 s` brings one
/// code of each lane into place, so the inputs of those have to lie together.
pub(crate) fn arrange(isa: Isa, xs: &[f32], out: &mut [f32]) {
    let lanes = isa.lanes();
    if lanes == 1 {
        out[..xs.len()].copy_from_slice(xs);
        return;
    }
    for (xs, out) in xs.chunks(8 * lanes).zip(out.chunks_exact_mut(8 * lanes)) {
        for shift in 0..8 {
            // The upper half of a byte comes first.
            let place = 2 * (shift / 2) + usize::from(shift % 2 == 0);
            for (lane, xs) in xs.chunks_exact(8).enumerate() {
                out[shift * lanes + lane] = xs[place];
            }
        }
    }
}

/// Computes the products of one row of a weight with up to [`MAX_ROWS`] rows of inputs, `xs`: `[rows, padded(len)]`, arranged.
pub(crate) fn dot(isa: Isa, codes: Codes<'_>, xs: &[f32], len: usize, out: &mut [f32]) {
    assert!(dot_fits(len, codes.block) && codes.skipped == 0 && xs.len() == out.len() * padded(len));
    assert!(codes.packed.len() * 2 >= len && codes.scales.len() * codes.block >= len);
    match isa {
        Isa::Scalar => scalar::dot(codes, xs, len, out),
        #[cfg(target_arch = "aarch64")]
        // SAFETY: every aarch64 processor has NEON; lengths are as asserted.
        Isa::Neon => unsafe { neon::dot(codes, xs, len, out) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `available` has checked the features; lengths are as asserted.
        Isa::Avx2 => unsafe { avx2::dot(codes, xs, len, out) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `available` has checked the features; lengths are as asserted.
        Isa::Avx512 => unsafe { avx512::dot(codes, xs, len, out) },
    }
}

/// Returns the largest magnitude; NaN when there is one.
pub(crate) fn absmax(isa: Isa, xs: &[f32]) -> f32 {
    match isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `available` has checked the features.
        Isa::Avx512 => unsafe { avx512::absmax(xs) },
        _ => scalar::absmax(xs),
    }
}

/// Writes the codes of a block: the nearest of 16 values to each `x * inverse`. `bounds`: the ascending midpoints, and an
/// infinity; `order`: the code of each value. The number of `xs` is even.
pub(crate) fn encode(
    isa: Isa,
    xs: &[f32],
    inverse: f32,
    bounds: &[f32; 16],
    order: &[u8; 16],
    out: &mut [u8],
) {
    match isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `available` has checked the features; there are two numbers for each byte.
        Isa::Avx512 if xs.len().is_multiple_of(UNIT) && out.len() * 2 == xs.len() => unsafe {
            avx512::encode(xs, inverse, bounds, order, out);
        },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx2 if xs.len().is_multiple_of(UNIT) && out.len() * 2 == xs.len() => unsafe {
            avx2::encode(xs, inverse, bounds, order, out);
        },
        _ => scalar::encode(xs, inverse, bounds, order, out),
    }
}

/// Converts float16 or bfloat16 to float32.
pub(crate) fn widen(isa: Isa, format: Format, xs: &[u16], out: &mut [f32]) {
    match isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `available` has checked the features.
        Isa::Avx512 if format == Format::Half => unsafe { avx512::widen_half(xs, out) },
        _ => scalar::widen(format, xs, out),
    }
}

/// Computes the products of some rows of 8-bit numbers, `[weights, len]`, with up to [`MAX_ROWS`] rows of inputs, `xs`: `[rows, len]`.
/// `out`: `[weights, rows]`.
pub(crate) fn dot8(isa: Isa, weights: &[i8], xs: &[f32], len: usize, out: &mut [f32]) {
    let rows = xs.len() / len;
    assert!(rows > 0 && xs.len() == rows * len && weights.len() * rows == out.len() * len);
    #[cfg(target_arch = "x86_64")]
    if isa == Isa::Avx512 {
        // SAFETY: `available` has checked the features; lengths are as asserted.
        return unsafe { avx512::dot8(weights, xs, len, out) };
    }
    for (row, out) in weights.chunks_exact(len).zip(out.chunks_exact_mut(rows)) {
        match isa {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::Avx2 => unsafe { avx2::dot8(row, xs, out) },
            _ => scalar::dot8(row, xs, out),
        }
    }
}

/// Computes `row * scale` in float32, rounded to nearest even.
pub(crate) fn decode8(isa: Isa, row: &[i8], scale: f32, mut out: Out<'_>) {
    assert!(row.len() <= out.len(), "fewer places than numbers");
    let done = match isa {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `available` has checked the features; lengths are as asserted.
        Isa::Avx512 => unsafe { avx512::decode8(row, scale, &mut out) },
        _ => 0,
    };
    scalar::decode8(row, scale, done, &mut out);
}
