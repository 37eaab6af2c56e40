//! AVX-512 (F, BW, VL): a table of 16 values is one register, and looking 16 codes up is one instruction.
//!
//! `permutexvar` reads the lowest four bits of each 32-bit lane and ignores the rest, so codes need no masking.

#[allow(clippy::wildcard_imports, reason = "intrinsics")]
use std::arch::x86_64::*;

use super::codes::{CHUNK, Codes, Out, UNIT, padded};
use super::float::Format;

/// Bytes ahead of a product at which its codes are prefetched. The processor's own prefetching ends at each page, of which
/// a row is a part or a few; without this the products would wait for memory and compute in turns.
pub(super) const AHEAD: usize = 4096;

/// Decodes `units` times 32 codes; returns how many numbers were written.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(super) unsafe fn decode(codes: Codes<'_>, units: usize, out: &mut Out<'_>) -> usize {
    // SAFETY: by the caller, codes, scales and `out` are there for `units` of 32.
    unsafe {
        let table = _mm512_loadu_ps(codes.table.as_ptr());
        for unit in 0..units {
            let scale = _mm512_set1_ps(codes.scale(unit * UNIT));
            let bytes = _mm_loadu_si128(codes.packed.as_ptr().add(unit * UNIT / 2).cast());
            let lanes = _mm512_cvtepu8_epi32(bytes);
            let even = _mm512_mul_ps(_mm512_permutexvar_ps(_mm512_srli_epi32::<4>(lanes), table), scale);
            let odd = _mm512_mul_ps(_mm512_permutexvar_ps(lanes, table), scale);
            store_pairs(even, odd, unit * UNIT, out);
        }
        units * UNIT
    }
}

/// Writes `even[0], odd[0], even[1], …` at `start`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn store_pairs(even: __m512, odd: __m512, start: usize, out: &mut Out<'_>) {
    // SAFETY: by the caller, 32 numbers from `start` on are there.
    unsafe {
        match out {
            Out::F32(out) => {
                let low = _mm512_set_epi32(23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
                let high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
                let out = out.as_mut_ptr().add(start);
                _mm512_storeu_ps(out, _mm512_permutex2var_ps(even, low, odd));
                _mm512_storeu_ps(out.add(16), _mm512_permutex2var_ps(even, high, odd));
            }
            Out::Half(Format::BFloat16, out) => {
                let even = _mm512_srli_epi32::<16>(round_bfloat16(even));
                let odd = _mm512_and_si512(round_bfloat16(odd), _mm512_set1_epi32(0xffff_0000u32 as i32));
                _mm512_storeu_si512(out.as_mut_ptr().add(start).cast(), _mm512_or_si512(even, odd));
            }
            Out::Half(Format::Half, out) => {
                let half = |x| _mm512_cvtepu16_epi32(_mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(x));
                let odd = _mm512_slli_epi32::<16>(half(odd));
                _mm512_storeu_si512(out.as_mut_ptr().add(start).cast(), _mm512_or_si512(half(even), odd));
            }
        }
    }
}

/// Returns bits whose upper half is the nearest bfloat16, ties to even; a quiet NaN stays one.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn round_bfloat16(x: __m512) -> __m512i {
    let bits = _mm512_castps_si512(x);
    let tie = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
    _mm512_add_epi32(bits, _mm512_add_epi32(tie, _mm512_set1_epi32(0x7fff)))
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(super) unsafe fn dot(codes: Codes<'_>, xs: &[f32], len: usize, out: &mut [f32]) {
    let mut done = 0;
    while done < out.len() {
        let (xs, out) = (&xs[done * padded(len)..], &mut out[done..]);
        // SAFETY: as the caller's.
        done += unsafe {
            match out.len() {
                1 => dot_rows::<1>(codes, xs, len, out),
                2 | 3 => dot_rows::<2>(codes, xs, len, out),
                4..=7 => dot_rows::<4>(codes, xs, len, out),
                _ => dot_rows::<8>(codes, xs, len, out),
            }
        };
    }
}

/// Loads the codes of chunk `chunk` of a row of `len`; zeros beyond the row.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
pub(super) unsafe fn lane_codes(packed: *const u8, len: usize, chunk: usize) -> __m512i {
    // SAFETY: by the caller, the codes of the row are there; a lane that is masked out is not read.
    unsafe {
        let packed = packed.add(CHUNK / 2 * chunk);
        let left = len - CHUNK * chunk;
        if left >= CHUNK {
            _mm512_loadu_si512(packed.cast())
        } else {
            _mm512_maskz_loadu_epi8((1 << (left / 2)) - 1, packed.cast())
        }
    }
}

/// Returns the scales of the 16 lanes of chunk `chunk` of a row of `len`, of which each holds 8 of 128 codes.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
pub(super) unsafe fn lane_scales(scales: *const f32, block: usize, len: usize, chunk: usize) -> __m512 {
    // SAFETY: by the caller, there is a scale for each block of the row; a lane that is masked out is not read.
    unsafe {
        let left = len - CHUNK * chunk;
        match block {
            32 => {
                let there = (1u32 << (left / 32).min(4)) - 1;
                let four =
                    _mm512_castps128_ps512(_mm_maskz_loadu_ps(there as __mmask8, scales.add(4 * chunk)));
                let lane = _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);
                _mm512_permutexvar_ps(lane, four)
            }
            64 if left >= CHUNK => {
                let first = _mm512_set1_ps(*scales.add(2 * chunk));
                _mm512_mask_broadcastss_ps(first, 0xff00, _mm_set_ss(*scales.add(2 * chunk + 1)))
            }
            _ => _mm512_set1_ps(*scales.add((chunk * 128) >> block.trailing_zeros())),
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn dot_rows<const M: usize>(codes: Codes<'_>, xs: &[f32], len: usize, out: &mut [f32]) -> usize {
    // SAFETY: by the caller, codes and scales are there for `len`, and `xs` has `M` rows of `padded(len)`; a prefetch reads nothing.
    unsafe {
        let table = _mm512_loadu_ps(codes.table.as_ptr());
        let (packed, scales, xs) = (codes.packed.as_ptr(), codes.scales.as_ptr(), xs.as_ptr());
        let mut sums = [_mm512_setzero_ps(); M];
        for chunk in 0..padded(len) / CHUNK {
            let lanes = lane_codes(packed, len, chunk);
            // Beyond the last row this asks for nothing that is there, which does no harm.
            _mm_prefetch::<_MM_HINT_T1>(packed.wrapping_add(64 * chunk + AHEAD).cast());
            let w = [
                _mm512_permutexvar_ps(lanes, table),
                _mm512_permutexvar_ps(_mm512_srli_epi32::<4>(lanes), table),
                _mm512_permutexvar_ps(_mm512_srli_epi32::<8>(lanes), table),
                _mm512_permutexvar_ps(_mm512_srli_epi32::<12>(lanes), table),
                _mm512_permutexvar_ps(_mm512_srli_epi32::<16>(lanes), table),
                _mm512_permutexvar_ps(_mm512_srli_epi32::<20>(lanes), table),
                _mm512_permutexvar_ps(_mm512_srli_epi32::<24>(lanes), table),
                _mm512_permutexvar_ps(_mm512_srli_epi32::<28>(lanes), table),
            ];
            let scale = lane_scales(scales, codes.block, len, chunk);
            for (row, sum) in sums.iter_mut().enumerate() {
                let xs = xs.add(row * padded(len) + CHUNK * chunk);
                let mut one = _mm512_mul_ps(w[0], _mm512_loadu_ps(xs));
                let mut two = _mm512_mul_ps(w[1], _mm512_loadu_ps(xs.add(16)));
                one = _mm512_fmadd_ps(w[2], _mm512_loadu_ps(xs.add(32)), one);
                two = _mm512_fmadd_ps(w[3], _mm512_loadu_ps(xs.add(48)), two);
                one = _mm512_fmadd_ps(w[4], _mm512_loadu_ps(xs.add(64)), one);
                two = _mm512_fmadd_ps(w[5], _mm512_loadu_ps(xs.add(80)), two);
                one = _mm512_fmadd_ps(w[6], _mm512_loadu_ps(xs.add(96)), one);
                two = _mm512_fmadd_ps(w[7], _mm512_loadu_ps(xs.add(112)), two);
                *sum = _mm512_fmadd_ps(_mm512_add_ps(one, two), scale, *sum);
            }
        }
        for (sum, out) in sums.iter().zip(out) {
            *out = _mm512_reduce_add_ps(*sum);
        }
        M
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(super) unsafe fn absmax(xs: &[f32]) -> f32 {
    // SAFETY: each chunk has 16 numbers.
    unsafe {
        let mut largest = _mm512_setzero_ps();
        let mut nan = 0u16;
        let chunks = xs.chunks_exact(16);
        let mut result = super::scalar::absmax(chunks.remainder());
        for chunk in chunks {
            let x = _mm512_abs_ps(_mm512_loadu_ps(chunk.as_ptr()));
            nan |= _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(x, x);
            largest = _mm512_max_ps(x, largest);
        }
        let largest = _mm512_reduce_max_ps(largest);
        if nan != 0 {
            return f32::NAN;
        }
        if largest > result {
            result = largest;
        }
        result
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(super) unsafe fn encode(xs: &[f32], inverse: f32, bounds: &[f32; 16], order: &[u8; 16], out: &mut [u8]) {
    // SAFETY: 16 bounds and 16 bytes of order; each chunk has 32 numbers and 16 bytes.
    unsafe {
        let bounds = _mm512_loadu_ps(bounds.as_ptr());
        let order = _mm512_cvtepu8_epi32(_mm_loadu_si128(order.as_ptr().cast()));
        let inverse = _mm512_set1_ps(inverse);
        let nearest = |xs: *const f32| {
            let x = _mm512_mul_ps(_mm512_loadu_ps(xs), inverse);
            let mut index = _mm512_setzero_si512();
            for step in [8, 4, 2, 1] {
                let place = _mm512_add_epi32(index, _mm512_set1_epi32(step - 1));
                let bound = _mm512_permutexvar_ps(place, bounds);
                // "Not less or equal" is true for NaN.
                let above = _mm512_cmp_ps_mask::<_CMP_NLE_UQ>(x, bound);
                index = _mm512_mask_add_epi32(index, above, index, _mm512_set1_epi32(step));
            }
            _mm512_permutexvar_epi32(index, order)
        };
        for (xs, out) in xs.chunks_exact(32).zip(out.chunks_exact_mut(16)) {
            let (first, second) = (nearest(xs.as_ptr()), nearest(xs.as_ptr().add(16)));
            // A 64-bit lane holds the codes of a byte: the first in its lower half.
            let pack = |codes: __m512i| {
                let upper = _mm512_slli_epi64::<4>(codes);
                let both = _mm512_or_si512(upper, _mm512_srli_epi64::<32>(codes));
                _mm512_cvtepi64_epi8(both)
            };
            _mm_storeu_si128(out.as_mut_ptr().cast(), _mm_unpacklo_epi64(pack(first), pack(second)));
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(super) unsafe fn widen_half(xs: &[u16], out: &mut [f32]) {
    let whole = xs.len().min(out.len()) / 16 * 16;
    for start in (0..whole).step_by(16) {
        // SAFETY: 16 numbers from `start` on are there.
        unsafe {
            let bits = _mm256_loadu_si256(xs.as_ptr().add(start).cast());
            _mm512_storeu_ps(out.as_mut_ptr().add(start), _mm512_cvtph_ps(bits));
        }
    }
    super::scalar::widen(Format::Half, &xs[whole..], &mut out[whole..]);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(super) unsafe fn dot8(weights: &[i8], xs: &[f32], len: usize, out: &mut [f32]) {
    let rows = xs.len() / len;
    // SAFETY: as the caller's.
    unsafe {
        if rows == 1 {
            let (fours, rest) = out.as_chunks_mut::<4>();
            let (of_fours, of_rest) = weights.split_at(4 * fours.len() * len);
            for (weights, four) in of_fours.chunks_exact(4 * len).zip(fours) {
                four.copy_from_slice(products8::<4, 1>(weights, xs, len).as_flattened());
            }
            for (weights, one) in of_rest.chunks_exact(len).zip(rest) {
                [[*one]] = products8::<1, 1>(weights, xs, len);
            }
            return;
        }
        for (weights, mut out) in weights.chunks_exact(len).zip(out.chunks_exact_mut(rows)) {
            let mut xs = xs;
            while !out.is_empty() {
                let done = match out.len() {
                    1 => put(products8::<1, 1>(weights, xs, len), out),
                    2 | 3 => put(products8::<1, 2>(weights, xs, len), out),
                    4..=7 => put(products8::<1, 4>(weights, xs, len), out),
                    _ => put(products8::<1, 8>(weights, xs, len), out),
                };
                (xs, out) = (&xs[done * len..], &mut out[done..]);
            }
        }
    }
}

/// Writes the products of one row of a weight; returns their number.
pub(super) fn put<const M: usize>([sums]: [[f32; M]; 1], out: &mut [f32]) -> usize {
    out[..M].copy_from_slice(&sums);
    M
}

/// Computes the products of `R` rows of the weight with the first `M` rows of inputs; of one row of inputs with four, as in
/// [`super::bf16`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn products8<const R: usize, const M: usize>(weights: &[i8], xs: &[f32], len: usize) -> [[f32; M]; R] {
    // SAFETY: what is read ends at `whole`, within a row; by the caller, there are `R` rows of the weight and `M` of inputs; a prefetch
    // reads nothing.
    unsafe {
        let whole = len / 32 * 32;
        let mut sums = [[[_mm512_setzero_ps(); 2]; M]; R];
        for start in (0..whole).step_by(32) {
            for (row, sums) in sums.iter_mut().enumerate() {
                let row = weights.as_ptr().add(row * len + start);
                let load = |at| _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(row.add(at).cast())));
                let (one, two) = (load(0), load(16));
                _mm_prefetch::<_MM_HINT_T1>(row.wrapping_add((R * len).max(AHEAD)));
                for (m, sum) in sums.iter_mut().enumerate() {
                    let xs = xs.as_ptr().add(m * len + start);
                    sum[0] = _mm512_fmadd_ps(one, _mm512_loadu_ps(xs), sum[0]);
                    sum[1] = _mm512_fmadd_ps(two, _mm512_loadu_ps(xs.add(16)), sum[1]);
                }
            }
        }
        let mut out = [[0.0; M]; R];
        for (row, (sums, out)) in sums.iter().zip(&mut out).enumerate() {
            let rest = &weights[row * len + whole..(row + 1) * len];
            for (m, (sum, out)) in sums.iter().zip(out).enumerate() {
                let xs = &xs[m * len + whole..];
                let rest: f32 = rest.iter().zip(xs).map(|(&w, x)| f32::from(w) * x).sum();
                *out = _mm512_reduce_add_ps(_mm512_add_ps(sum[0], sum[1])) + rest;
            }
        }
        out
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(super) unsafe fn decode8(row: &[i8], scale: f32, out: &mut Out<'_>) -> usize {
    // SAFETY: what is read and written ends at `whole`, within the row; by the caller, `out` is as long.
    unsafe {
        let whole = row.len() / 16 * 16;
        let scale = _mm512_set1_ps(scale);
        for start in (0..whole).step_by(16) {
            let numbers = _mm512_cvtepi8_epi32(_mm_loadu_si128(row.as_ptr().add(start).cast()));
            let x = _mm512_mul_ps(_mm512_cvtepi32_ps(numbers), scale);
            match out {
                Out::F32(out) => _mm512_storeu_ps(out.as_mut_ptr().add(start), x),
                Out::Half(format, out) => {
                    let bits = if *format == Format::Half {
                        _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(x)
                    } else {
                        _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(round_bfloat16(x)))
                    };
                    _mm256_storeu_si256(out.as_mut_ptr().add(start).cast(), bits);
                }
            }
        }
        whole
    }
}
