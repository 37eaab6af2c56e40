//! Blocks of few bits to single precision, and to `Q8_0` back (ggml `ggml-quants.c`, `dequantize_row_*`; layouts in
//! `ggml-common.h`).

use super::GgmlType;

/// Writes out whole blocks: `elements` gets every element of `bytes`, in order. Plain numbers are not for this.
pub(super) fn dequantize(ggml_type: GgmlType, bytes: &[u8], elements: &mut [f32]) {
    let (len, num_bytes) = ggml_type.block();
    let blocks = bytes.chunks_exact(num_bytes).zip(elements.chunks_exact_mut(len));
    match ggml_type {
        GgmlType::Q4_0 => blocks.for_each(|(block, out)| q4_0(block, out)),
        GgmlType::Q4_1 => blocks.for_each(|(block, out)| q4_1(block, out)),
        GgmlType::Q8_0 => blocks.for_each(|(block, out)| q8_0(block, out)),
        GgmlType::Q4_K => blocks.for_each(|(block, out)| q4_k(block, out)),
        GgmlType::Q6_K => blocks.for_each(|(block, out)| q6_k(block, out)),
        _ => {}
    }
}

/// Writes out a scale and 16 bytes, whose low halves are elements 0 to 15, the high halves 16 to 31.
fn q4_0(block: &[u8], out: &mut [f32]) {
    let d = half(block, 0);
    let (low, high) = out.split_at_mut(16);
    for ((&q, low), high) in block[2..].iter().zip(low).zip(high) {
        *low = d * (f32::from(q & 0xf) - 8.0);
        *high = d * (f32::from(q >> 4) - 8.0);
    }
}

/// Writes out a block as [`q4_0`] does, with a minimum behind the scale.
fn q4_1(block: &[u8], out: &mut [f32]) {
    let (d, m) = (half(block, 0), half(block, 2));
    let (low, high) = out.split_at_mut(16);
    for ((&q, low), high) in block[4..].iter().zip(low).zip(high) {
        *low = d * f32::from(q & 0xf) + m;
        *high = d * f32::from(q >> 4) + m;
    }
}

/// Writes out a scale and 32 signed bytes.
fn q8_0(block: &[u8], out: &mut [f32]) {
    let d = half(block, 0);
    for (&q, out) in block[2..].iter().zip(out) {
        *out = f32::from(q.cast_signed()) * d;
    }
}

/// Writes out a scale of scales, a scale of minima, 12 bytes with eight of each in 6 bits; then four times 32 bytes,
/// whose low halves are one group of 32 elements and whose high halves are the next.
fn q4_k(block: &[u8], out: &mut [f32]) {
    let (d, d_min) = (half(block, 0), half(block, 2));
    let (scales, qs) = block[4..].split_at(12);
    for (pair, (qs, out)) in qs.chunks_exact(32).zip(out.chunks_exact_mut(64)).enumerate() {
        for (group, out) in out.chunks_exact_mut(32).enumerate() {
            let (scale, min) = scale_and_min(scales, 2 * pair + group);
            let (scale, min) = (d * f32::from(scale), d_min * f32::from(min));
            for (&q, out) in qs.iter().zip(out) {
                *out = scale * f32::from((q >> (4 * group)) & 0xf) - min;
            }
        }
    }
}

/// Reads a scale and its minimum: the first four of each are the low 6 bits of bytes 0 to 7; of the other four, bytes 8
/// to 11 have the low halves and the top bits of bytes 0 to 7 the rest.
fn scale_and_min(scales: &[u8], group: usize) -> (u8, u8) {
    if group < 4 {
        (scales[group] & 63, scales[group + 4] & 63)
    } else {
        let low = scales[group + 4];
        ((low & 0xf) | ((scales[group - 4] >> 6) << 4), (low >> 4) | ((scales[group] >> 6) << 4))
    }
}

/// Writes out 128 bytes of low halves, 64 of the two bits above them, 16 signed scales, a scale of scales. Each half
/// of the block has four groups of 32: the low and high halves of 64 bytes, with the same 32 bytes of upper bits.
fn q6_k(block: &[u8], out: &mut [f32]) {
    let (low, rest) = block.split_at(128);
    let (high, rest) = rest.split_at(64);
    let (scales, d) = rest.split_at(16);
    let d = half(d, 0);
    for (half_block, out) in out.chunks_exact_mut(128).enumerate() {
        let (low, high) = (&low[64 * half_block..], &high[32 * half_block..]);
        for (group, out) in out.chunks_exact_mut(32).enumerate() {
            for (index, out) in out.iter_mut().enumerate() {
                let nibble = (low[32 * (group % 2) + index] >> (4 * (group / 2))) & 0xf;
                let upper = (high[index] >> (2 * group)) & 3;
                let scale = scales[8 * half_block + 2 * group + index / 16].cast_signed();
                *out = d * f32::from(scale) * (f32::from(nibble | (upper << 4)) - 32.0);
            }
        }
    }
}

/// Reads the half-precision number at `at`.
fn half(bytes: &[u8], at: usize) -> f32 {
    half_to_f32(u16::from_le_bytes([bytes[at], bytes[at + 1]]))
}

/// Converts IEEE 754 binary16 to binary32, which is exact.
fn half_to_f32(bits: u16) -> f32 {
    let (exponent, fraction) = ((bits >> 10) & 0x1f, bits & 0x3ff);
    let magnitude = match exponent {
        // Subnormal: a multiple of 2^-24.
        0 => f32::from(fraction) * 2f32.powi(-24),
        0x1f => f32::from_bits(0x7f80_0000 | (u32::from(fraction) << 13)),
        _ => f32::from_bits((u32::from(exponent) + 112) << 23 | u32::from(fraction) << 13),
    };
    if bits & 0x8000 == 0 { magnitude } else { -magnitude }
}

/// Converts single precision, as bytes, to blocks of `Q8_0` (ggml `quantize_row_q8_0_ref`): the scale is a 127th of
/// the largest magnitude, and elements are rounded to the nearest, halves away from zero. Returns false where an element is NaN, or
/// a scale beyond half precision: larger than [`MOST_Q8_0`].
pub(super) fn quantize_q8_0(elements: &[u8], blocks: &mut [u8]) -> bool {
    let mut fits = true;
    for (elements, block) in elements.chunks_exact(4 * 32).zip(blocks.chunks_exact_mut(2 + 32)) {
        let mut values = [0.0f32; 32];
        for (value, bytes) in values.iter_mut().zip(elements.chunks_exact(4)) {
            *value = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        let largest = values.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        let d = largest / 127.0;
        let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
        let scale = f32_to_half(d);
        fits &= scale < INFINITE && values.iter().all(|value| !value.is_nan());
        block[..2].copy_from_slice(&scale.to_le_bytes());
        for (q, value) in block[2..].iter_mut().zip(values) {
            *q = ((value * inverse).round() as i8).cast_unsigned();
        }
    }
    fits
}

/// The bits of infinity in half precision; those of finite positive numbers are less.
const INFINITE: u16 = 0x7c00;
/// Largest magnitude of an element of `Q8_0`: 127 times the largest number of half precision.
pub(super) const MOST_Q8_0: f32 = 127.0 * 65_504.0;

/// Rounds IEEE 754 binary32 to binary16, to the nearest, ties to even. Not for NaN.
fn f32_to_half(value: f32) -> u16 {
    let sign = ((value.to_bits() >> 16) & 0x8000) as u16;
    let magnitude = value.abs();
    // From the middle between the largest half and the next power of two.
    if magnitude >= 65_520.0 {
        return sign | INFINITE;
    }
    // Below the normal halves the unit is 2^-24; above, one of ten bits behind the exponent's.
    let exponent = ((magnitude.to_bits() >> 23) as i32 - 127).max(-14);
    let units = f64::from(magnitude) * 2f64.powi(10 - exponent);
    let rounded = units.round_ties_even() as u16;
    // A rounding up to the next power of two carries into the exponent.
    sign | (((exponent + 14) as u16) << 10).wrapping_add(rounded)
}

#[cfg(test)]
mod tests {
    use tch::{Kind, Tensor};

    use super::*;

    #[test]
    fn rounding_to_half_is_libtorchs() {
        // Every half, the middle to its neighbour, and both sides of that.
        let mut values = Vec::new();
        for bits in (0..0x7c00u16).flat_map(|bits| [bits, bits | 0x8000]) {
            let (here, next) = (half_to_f32(bits), half_to_f32(bits + 1));
            let middle = f64::midpoint(f64::from(here), f64::from(next));
            let middle = if next.is_finite() { middle as f32 } else { 65_520.0_f32.copysign(here) };
            values.extend([here, middle, middle.next_up(), middle.next_down()]);
        }
        let halves = Tensor::from_slice(&values).to_kind(Kind::Half);
        let mut bytes = vec![0; 2 * values.len()];
        halves.copy_data_u8(&mut bytes, values.len());
        for (value, expected) in values.iter().zip(bytes.chunks_exact(2)) {
            assert_eq!(f32_to_half(*value).to_le_bytes(), expected, "{value:e}");
        }
    }

    #[test]
    fn what_a_block_has_no_place_for_is_told() {
        let fits = |value: f32| {
            let mut values = [1.0_f32; 64];
            values[40] = value;
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            quantize_q8_0(&bytes, &mut [0; 68])
        };
        assert!(fits(MOST_Q8_0) && fits(-MOST_Q8_0));
        for value in [1.001 * MOST_Q8_0, -1.001 * MOST_Q8_0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
            assert!(!fits(value), "{value}");
        }
    }

    #[test]
    fn every_half_is_what_libtorch_says() {
        let all: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        let expected = Tensor::f_from_data_size(&all, &[1 << 16], Kind::Half).unwrap().to_kind(Kind::Float);
        let expected = Vec::<f32>::try_from(expected).unwrap();
        for bits in 0..=u16::MAX {
            let (actual, expected) = (half_to_f32(bits), expected[usize::from(bits)]);
            assert!(
                actual.to_bits() == expected.to_bits() || actual.is_nan() && expected.is_nan(),
                "{bits:#x}"
            );
        }
    }
}
