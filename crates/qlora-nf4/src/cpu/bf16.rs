//! Products with inputs in bfloat16, for processors that multiply it (AVX-512 BF16).
//!
//! A table of 16 values in bfloat16, twice, is one register of 32 lanes, so that one instruction looks 32 codes up (16 in
//! float32), and one multiplies and adds 32 pairs. Values are rounded to bfloat16 before their block's scale is multiplied
//! in, where dequantising rounds after it; products and sums are float32.

#[allow(clippy::wildcard_imports, reason = "intrinsics")]
use std::arch::x86_64::*;

use super::avx512::{AHEAD, lane_scales};
use super::{Codes, Format};

/// Whether this processor can.
pub(crate) fn available() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512bf16")
}

/// The values of 16 codes in bfloat16, twice: a lane's fifth bit belongs to the next code.
pub(crate) fn table(values: &[f32; 16]) -> [u16; 32] {
    std::array::from_fn(|index| Format::BFloat16.narrow(values[index % 16]))
}

/// Puts a row of inputs into the order in which [`dot`] meets the codes: a lane of 16 bits holds four, the upper half of
/// a byte first.
pub(crate) fn arrange(xs: &[u16], out: &mut [u16]) {
    for (xs, out) in xs.chunks_exact(128).zip(out.chunks_exact_mut(128)) {
        for (shift, place) in [1, 0, 3, 2].into_iter().enumerate() {
            for lane in 0..32 {
                out[shift * 32 + lane] = xs[4 * lane + place];
            }
        }
    }
}

/// The products of one row of a weight with up to [`super::MAX_ROWS`] rows of inputs, `xs`: `[rows, len]`, arranged.
/// [`super::dot_fits`] and [`available`] have said yes.
pub(crate) fn dot(codes: Codes<'_>, table: &[u16; 32], xs: &[u16], len: usize, out: &mut [f32]) {
    assert!(available() && super::dot_fits(len, codes.block) && xs.len() == out.len() * len);
    assert!(codes.packed.len() * 2 >= len && codes.scales.len() * codes.block >= len);
    let mut done = 0;
    while done < out.len() {
        let (xs, out) = (&xs[done * len..], &mut out[done..]);
        // SAFETY: features and lengths are as asserted.
        done += unsafe {
            match out.len() {
                1 => dot_rows::<1>(codes, table, xs, len, out),
                2 | 3 => dot_rows::<2>(codes, table, xs, len, out),
                4..=7 => dot_rows::<4>(codes, table, xs, len, out),
                _ => dot_rows::<8>(codes, table, xs, len, out),
            }
        };
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn dot_rows<const M: usize>(
    codes: Codes<'_>,
    table: &[u16; 32],
    xs: &[u16],
    len: usize,
    out: &mut [f32],
) -> usize {
    // SAFETY: the caller's promise.
    unsafe {
        let table = _mm512_loadu_si512(table.as_ptr().cast());
        let (packed, scales, xs) = (codes.packed.as_ptr(), codes.scales.as_ptr(), xs.as_ptr());
        let mut sums = [_mm512_setzero_ps(); M];
        for chunk in 0..len / 128 {
            let lanes = _mm512_loadu_si512(packed.add(64 * chunk).cast());
            _mm_prefetch::<_MM_HINT_T0>(packed.wrapping_add(64 * chunk + AHEAD).cast());
            let w = [
                pairs(_mm512_permutexvar_epi16(lanes, table)),
                pairs(_mm512_permutexvar_epi16(_mm512_srli_epi16::<4>(lanes), table)),
                pairs(_mm512_permutexvar_epi16(_mm512_srli_epi16::<8>(lanes), table)),
                pairs(_mm512_permutexvar_epi16(_mm512_srli_epi16::<12>(lanes), table)),
            ];
            let scale = lane_scales(scales, codes.block, chunk);
            for (row, sum) in sums.iter_mut().enumerate() {
                let xs = xs.add(row * len + 128 * chunk);
                let x = |at: usize| pairs(_mm512_loadu_si512(xs.add(32 * at).cast()));
                let zero = _mm512_setzero_ps();
                let one = _mm512_dpbf16_ps(_mm512_dpbf16_ps(zero, w[0], x(0)), w[1], x(1));
                let two = _mm512_dpbf16_ps(_mm512_dpbf16_ps(zero, w[2], x(2)), w[3], x(3));
                *sum = _mm512_fmadd_ps(_mm512_add_ps(one, two), scale, *sum);
            }
        }
        for (sum, out) in sums.iter().zip(out) {
            *out = _mm512_reduce_add_ps(*sum);
        }
        M
    }
}

/// The same bits as pairs of bfloat16.
#[target_feature(enable = "avx512f,avx512bf16")]
#[inline]
unsafe fn pairs(bits: __m512i) -> __m512bh {
    // SAFETY: both are 512 bits, and any are a value.
    unsafe { std::mem::transmute::<__m512i, __m512bh>(bits) }
}

#[cfg(test)]
mod tests {
    use super::super::Values;
    use super::*;

    #[test]
    fn products_are_those_of_the_table_in_bfloat16() {
        if !available() {
            return;
        }
        let wide = |bits| Format::BFloat16.widen(bits);
        let values = table(&Values::NF4.table);
        for (len, block) in [(128, 32), (128, 64), (384, 128), (512, 256)] {
            let packed: Vec<u8> = (0..len / 2).map(|i| (i * 37 + i * i * 11) as u8).collect();
            let scales: Vec<f32> = (0..len / block).map(|i| 0.5 + i as f32 * 0.3).collect();
            let codes =
                Codes { packed: &packed, scales: &scales, skipped: 0, block, table: &Values::NF4.table };
            let code = |i: usize| {
                usize::from(if i.is_multiple_of(2) { packed[i / 2] >> 4 } else { packed[i / 2] & 15 })
            };
            for rows in 1..=super::super::MAX_ROWS {
                let number = |i: usize| Format::BFloat16.narrow((i as f32 * 0.7).sin());
                let xs: Vec<u16> = (0..rows * len).map(number).collect();
                let mut arranged = vec![0; xs.len()];
                for (xs, out) in xs.chunks(len).zip(arranged.chunks_mut(len)) {
                    arrange(xs, out);
                }
                let mut out = vec![0.0; rows];
                dot(codes, &values, &arranged, len, &mut out);
                for (row, actual) in out.iter().enumerate() {
                    let term = |i: usize| {
                        f64::from(wide(values[code(i)]))
                            * f64::from(scales[i / block])
                            * f64::from(wide(xs[row * len + i]))
                    };
                    let expected: f64 = (0..len).map(term).sum();
                    assert!(
                        (f64::from(*actual) - expected).abs() < 1e-4,
                        "{len} {block} {rows}: {actual} {expected}"
                    );
                }
            }
        }
    }
}
