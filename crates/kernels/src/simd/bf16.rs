//! Products with inputs in bfloat16, for processors that multiply it (AVX-512 BF16).
//!
//! A table of 16 values in bfloat16, twice, is one register of 32 lanes, so that one instruction looks 32 codes up (16 in
//! float32), and one multiplies and adds 32 pairs. Values are rounded to bfloat16 before their block's scale is multiplied
//! in, where dequantising rounds after it; products and sums are float32.

#[allow(clippy::wildcard_imports, reason = "intrinsics")]
use std::arch::x86_64::*;

use super::avx512::{AHEAD, lane_codes, lane_scales, put};
use super::codes::{CHUNK, Codes, padded};
use super::float::Format;

/// Returns whether this processor multiplies bfloat16.
pub(crate) fn available() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512bf16")
}

/// Returns the values of 16 codes in bfloat16, twice: a lane's fifth bit belongs to the next code.
pub(crate) fn table(values: &[f32; 16]) -> [u16; 32] {
    std::array::from_fn(|index| Format::BFloat16.narrow(values[index % 16]))
}

/// Puts a row of inputs into the order in which [`dot`] meets the codes: a lane of 16 bits holds four, the upper half of
/// a byte first. `out`: `[padded(len)]`, zeros.
pub(crate) fn arrange(xs: &[u16], out: &mut [u16]) {
    assert!(available());
    // SAFETY: as asserted.
    unsafe { arrange_lanes(xs, out) }
}

/// Arranges lanes; the compiler makes a few instructions of each `shift`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn arrange_lanes(xs: &[u16], out: &mut [u16]) {
    for (xs, out) in xs.chunks(CHUNK).zip(out.as_chunks_mut::<CHUNK>().0) {
        for (out, place) in out.as_chunks_mut::<32>().0.iter_mut().zip([1, 0, 3, 2]) {
            for (out, lane) in out.iter_mut().zip(xs.as_chunks::<4>().0) {
                *out = lane[place];
            }
        }
    }
}

/// Computes the products of some rows of a weight with up to [`super::MAX_ROWS`] rows of inputs, `xs`: `[rows, padded(len)]`,
/// arranged. `out`: `[rows of the weight, rows]`. [`super::dot_fits`] and [`available`] have said yes.
///
/// Takes several rows of a weight because starting on a row costs a tenth of it.
pub(crate) fn dot(codes: Codes<'_>, table: &[u16; 32], xs: &[u16], len: usize, out: &mut [f32]) {
    assert!(available() && super::dot_fits(len, codes.block) && codes.skipped == 0);
    let rows = xs.len() / padded(len);
    assert!(rows > 0 && xs.len() == rows * padded(len) && out.len().is_multiple_of(rows));
    let all = out.len() / rows * len;
    assert!(codes.packed.len() * 2 >= all && codes.scales.len() * codes.block >= all);
    // SAFETY: features and lengths are as asserted.
    unsafe {
        if rows == 1 {
            let (fours, rest) = out.as_chunks_mut::<4>();
            for (index, four) in fours.iter_mut().enumerate() {
                four.copy_from_slice(products::<4, 1>(codes, 4 * index, table, xs, len).as_flattened());
            }
            for (index, one) in rest.iter_mut().enumerate() {
                [[*one]] = products::<1, 1>(codes, 4 * fours.len() + index, table, xs, len);
            }
            return;
        }
        for (weight, mut out) in out.chunks_exact_mut(rows).enumerate() {
            let mut xs = xs;
            while !out.is_empty() {
                let done = match out.len() {
                    1 => put(products::<1, 1>(codes, weight, table, xs, len), out),
                    2 | 3 => put(products::<1, 2>(codes, weight, table, xs, len), out),
                    4..=7 => put(products::<1, 4>(codes, weight, table, xs, len), out),
                    _ => put(products::<1, 8>(codes, weight, table, xs, len), out),
                };
                (xs, out) = (&xs[done * padded(len)..], &mut out[done..]);
            }
        }
    }
}

/// Computes the products of `R` rows of the weight from row `first` on with the first `M` rows of inputs.
///
/// One row of inputs meets four rows of the weight at a time, and asks for the next four while it does: four streams that
/// are far apart, and inputs that are loaded once for all of them.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn products<const R: usize, const M: usize>(
    codes: Codes<'_>,
    first: usize,
    table: &[u16; 32],
    xs: &[u16],
    len: usize,
) -> [[f32; M]; R] {
    // SAFETY: the caller's promise.
    unsafe {
        let table = _mm512_loadu_si512(table.as_ptr().cast());
        let packed = codes.packed.as_ptr().add(first * len / 2);
        let scales = codes.scales.as_ptr().add(first * len / codes.block);
        let xs = xs.as_ptr();
        let mut sums = [[_mm512_setzero_ps(); M]; R];
        for chunk in 0..padded(len) / CHUNK {
            for (row, sums) in sums.iter_mut().enumerate() {
                let packed = packed.add(row * len / 2);
                let lanes = lane_codes(packed, len, chunk);
                // Into the second cache: the first has too few places for lines that are on their way.
                let ahead = CHUNK / 2 * chunk + (R * len / 2).max(AHEAD);
                _mm_prefetch::<_MM_HINT_T1>(packed.wrapping_add(ahead).cast());
                let w = [
                    pairs(_mm512_permutexvar_epi16(lanes, table)),
                    pairs(_mm512_permutexvar_epi16(_mm512_srli_epi16::<4>(lanes), table)),
                    pairs(_mm512_permutexvar_epi16(_mm512_srli_epi16::<8>(lanes), table)),
                    pairs(_mm512_permutexvar_epi16(_mm512_srli_epi16::<12>(lanes), table)),
                ];
                let scale = lane_scales(scales.add(row * len / codes.block), codes.block, len, chunk);
                for (input, sum) in sums.iter_mut().enumerate() {
                    let xs = xs.add(input * padded(len) + CHUNK * chunk);
                    let x = |at: usize| pairs(_mm512_loadu_si512(xs.add(32 * at).cast()));
                    let zero = _mm512_setzero_ps();
                    let one = _mm512_dpbf16_ps(_mm512_dpbf16_ps(zero, w[0], x(0)), w[1], x(1));
                    let two = _mm512_dpbf16_ps(_mm512_dpbf16_ps(zero, w[2], x(2)), w[3], x(3));
                    *sum = _mm512_fmadd_ps(_mm512_add_ps(one, two), scale, *sum);
                }
            }
        }
        let mut out = [[0.0; M]; R];
        for (out, sum) in out.as_flattened_mut().iter_mut().zip(sums.as_flattened()) {
            *out = _mm512_reduce_add_ps(*sum);
        }
        out
    }
}

/// Returns the same bits as pairs of bfloat16.
#[target_feature(enable = "avx512f,avx512bf16")]
#[inline]
unsafe fn pairs(bits: __m512i) -> __m512bh {
    // SAFETY: both are 512 bits, and any are a value.
    unsafe { std::mem::transmute::<__m512i, __m512bh>(bits) }
}

#[cfg(test)]
mod tests {
    use super::super::tests::TABLES;
    use super::*;

    #[test]
    fn products_are_those_of_the_table_in_bfloat16() {
        if !available() {
            return;
        }
        let wide = |bits| Format::BFloat16.widen(bits);
        let values = table(TABLES[0].values());
        for (len, block) in
            [(128, 32), (128, 64), (384, 128), (512, 256), (576, 64), (64, 64), (32, 32), (224, 32)]
        {
            let weights = 5;
            let packed: Vec<u8> = (0..weights * len / 2).map(|i| (i * 37 + i * i * 11) as u8).collect();
            let scales: Vec<f32> = (0..weights * len / block).map(|i| 0.5 + (i % 5) as f32 * 0.3).collect();
            let codes =
                Codes { packed: &packed, scales: &scales, skipped: 0, block, table: TABLES[0].values() };
            let code = |i: usize| {
                usize::from(if i.is_multiple_of(2) { packed[i / 2] >> 4 } else { packed[i / 2] & 15 })
            };
            for rows in 1..=super::super::MAX_ROWS {
                let number = |i: usize| Format::BFloat16.narrow((i as f32 * 0.7).sin());
                let xs: Vec<u16> = (0..rows * len).map(number).collect();
                let mut arranged = vec![0; rows * padded(len)];
                for (xs, out) in xs.chunks(len).zip(arranged.chunks_mut(padded(len))) {
                    arrange(xs, out);
                }
                let mut out = vec![0.0; weights * rows];
                dot(codes, &values, &arranged, len, &mut out);
                for (index, actual) in out.iter().enumerate() {
                    let (weight, row) = (index / rows * len, index % rows * len);
                    let term = |i: usize| {
                        f64::from(wide(values[code(weight + i)]))
                            * f64::from(scales[(weight + i) / block])
                            * f64::from(wide(xs[row + i]))
                    };
                    let expected: f64 = (0..len).map(term).sum();
                    assert!(
                        (f64::from(*actual) - expected).abs() < 1e-4,
                        "{len} {block} {rows} {index}: {actual} {expected}"
                    );
                }
            }
        }
    }
}
