//! AVX2 with FMA and F16C: a table of 16 values is two registers, of which bit 3 of a code chooses one.

#[allow(clippy::wildcard_imports, reason = "intrinsics")]
use std::arch::x86_64::*;

use super::codes::{Codes, Out, UNIT, padded};
use super::float::Format;

/// Looks up the values of the codes in the lowest four bits of each lane.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn look_up(table: [__m256; 2], lanes: __m256i) -> __m256 {
    // `permutevar8x32` reads three bits; the fourth becomes the sign bit that `blendv` reads.
    let (low, high) = (_mm256_permutevar8x32_ps(table[0], lanes), _mm256_permutevar8x32_ps(table[1], lanes));
    _mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32::<28>(lanes)))
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn load_table(table: &[f32; 16]) -> [__m256; 2] {
    // SAFETY: 16 numbers.
    unsafe { [_mm256_loadu_ps(table.as_ptr()), _mm256_loadu_ps(table.as_ptr().add(8))] }
}

/// Decodes `units` times 32 codes; returns how many numbers were written.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn decode(codes: Codes<'_>, units: usize, out: &mut Out<'_>) -> usize {
    // SAFETY: by the caller, codes, scales and `out` are there for `units` of 32.
    unsafe {
        let table = load_table(codes.table);
        for half in 0..units * 2 {
            let scale = _mm256_set1_ps(codes.scale(half * UNIT / 2));
            let bytes = _mm_loadl_epi64(codes.packed.as_ptr().add(half * UNIT / 4).cast());
            let lanes = _mm256_cvtepu8_epi32(bytes);
            let even = _mm256_mul_ps(look_up(table, _mm256_srli_epi32::<4>(lanes)), scale);
            let odd = _mm256_mul_ps(look_up(table, lanes), scale);
            // 0 1 4 5 and 2 3 6 7, then in order.
            let (low, high) = (_mm256_unpacklo_ps(even, odd), _mm256_unpackhi_ps(even, odd));
            let first = _mm256_permute2f128_ps::<0x20>(low, high);
            let second = _mm256_permute2f128_ps::<0x31>(low, high);
            store(first, half * 16, out);
            store(second, half * 16 + 8, out);
        }
        units * UNIT
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn store(x: __m256, start: usize, out: &mut Out<'_>) {
    // SAFETY: by the caller, 8 numbers from `start` on are there.
    unsafe {
        match out {
            Out::F32(out) => _mm256_storeu_ps(out.as_mut_ptr().add(start), x),
            Out::Half(Format::Half, out) => {
                let bits = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(x);
                _mm_storeu_si128(out.as_mut_ptr().add(start).cast(), bits);
            }
            Out::Half(Format::BFloat16, out) => {
                let bits = _mm256_castps_si256(x);
                let tie = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
                let rounded = _mm256_add_epi32(bits, _mm256_add_epi32(tie, _mm256_set1_epi32(0x7fff)));
                let upper = _mm256_srli_epi32::<16>(rounded);
                let packed = _mm256_permute4x64_epi64::<0b1000>(_mm256_packus_epi32(upper, upper));
                _mm_storeu_si128(out.as_mut_ptr().add(start).cast(), _mm256_castsi256_si128(packed));
            }
        }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn sum_lanes(x: __m256) -> f32 {
    let mut lanes = [0f32; 8];
    // SAFETY: eight numbers.
    unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), x) };
    lanes.iter().sum()
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn dot(codes: Codes<'_>, xs: &[f32], len: usize, out: &mut [f32]) {
    let mut done = 0;
    while done < out.len() {
        let (xs, out) = (&xs[done * padded(len)..], &mut out[done..]);
        // SAFETY: as the caller's.
        done += unsafe {
            match out.len() {
                1 => dot_rows::<1>(codes, xs, len, out),
                2 | 3 => dot_rows::<2>(codes, xs, len, out),
                _ => dot_rows::<4>(codes, xs, len, out),
            }
        };
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn dot_rows<const M: usize>(codes: Codes<'_>, xs: &[f32], len: usize, out: &mut [f32]) -> usize {
    // SAFETY: by the caller, codes and scales are there for `len`, a multiple of 32, of which the last chunk may be the half, and `xs`
    // has `M` rows of `padded(len)`.
    unsafe {
        let table = load_table(codes.table);
        let mut sums = [_mm256_setzero_ps(); M];
        for chunk in 0..len.div_ceil(64) {
            let packed = codes.packed.as_ptr().add(32 * chunk);
            let is_whole = 64 * (chunk + 1) <= len;
            let lanes = if is_whole {
                _mm256_loadu_si256(packed.cast())
            } else {
                _mm256_zextsi128_si256(_mm_loadu_si128(packed.cast()))
            };
            let scales = codes.scales.as_ptr();
            let scale = if codes.block == 32 && is_whole {
                let (low, high) = (*scales.add(2 * chunk), *scales.add(2 * chunk + 1));
                _mm256_set_m128(_mm_set1_ps(high), _mm_set1_ps(low))
            } else {
                _mm256_set1_ps(*scales.add((chunk * 64) >> codes.block.trailing_zeros()))
            };
            let mut parts = [_mm256_setzero_ps(); M];
            let mut shifted = lanes;
            for shift in 0..8 {
                let w = look_up(table, shifted);
                for (row, part) in parts.iter_mut().enumerate() {
                    let xs = xs.as_ptr().add(row * padded(len) + 64 * chunk + 8 * shift);
                    *part = _mm256_fmadd_ps(w, _mm256_loadu_ps(xs), *part);
                }
                shifted = _mm256_srli_epi32::<4>(shifted);
            }
            for (sum, part) in sums.iter_mut().zip(parts) {
                *sum = _mm256_fmadd_ps(part, scale, *sum);
            }
        }
        for (sum, out) in sums.into_iter().zip(out) {
            *out = sum_lanes(sum);
        }
        M
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn encode(xs: &[f32], inverse: f32, bounds: &[f32; 16], order: &[u8; 16], out: &mut [u8]) {
    // SAFETY: each chunk has 8 numbers and 4 bytes, and there are 8 indices.
    unsafe {
        let inverse = _mm256_set1_ps(inverse);
        for (xs, out) in xs.chunks_exact(8).zip(out.chunks_exact_mut(4)) {
            let x = _mm256_mul_ps(_mm256_loadu_ps(xs.as_ptr()), inverse);
            let mut index = _mm256_setzero_si256();
            for &bound in &bounds[..15] {
                // "Not less or equal" is true for NaN; true is -1.
                let above = _mm256_cmp_ps::<_CMP_NLE_UQ>(x, _mm256_set1_ps(bound));
                index = _mm256_sub_epi32(index, _mm256_castps_si256(above));
            }
            let mut indices = [0u32; 8];
            _mm256_storeu_si256(indices.as_mut_ptr().cast(), index);
            for (pair, out) in indices.chunks_exact(2).zip(out) {
                *out = (order[pair[0] as usize & 15] << 4) | order[pair[1] as usize & 15];
            }
        }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn dot8(row: &[i8], xs: &[f32], out: &mut [f32]) {
    let (len, whole) = (row.len(), row.len() / 8 * 8);
    for (m, out) in out.iter_mut().enumerate() {
        let xs = &xs[m * len..(m + 1) * len];
        // SAFETY: eight numbers from `start` on are there.
        unsafe {
            let mut sum = _mm256_setzero_ps();
            for start in (0..whole).step_by(8) {
                let numbers = _mm256_cvtepi8_epi32(_mm_loadl_epi64(row.as_ptr().add(start).cast()));
                let x = _mm256_loadu_ps(xs.as_ptr().add(start));
                sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(numbers), x, sum);
            }
            let rest = row[whole..].iter().zip(&xs[whole..]).map(|(&w, x)| f32::from(w) * x);
            *out = sum_lanes(sum) + rest.sum::<f32>();
        }
    }
}
