//! The reference kernels.

use super::codes::{Codes, Out, padded};
use super::float::Format;

fn code(packed: &[u8], index: usize) -> usize {
    let byte = packed[index / 2];
    usize::from(if index.is_multiple_of(2) { byte >> 4 } else { byte & 15 })
}

pub(super) fn decode(codes: Codes<'_>, from: usize, out: &mut Out<'_>) {
    let value = |index: usize| codes.table[code(codes.packed, index)] * codes.scale(index);
    match out {
        Out::F32(out) => out.iter_mut().enumerate().skip(from).for_each(|(i, out)| *out = value(i)),
        Out::Half(format, out) => {
            out.iter_mut().enumerate().skip(from).for_each(|(i, out)| *out = format.narrow(value(i)));
        }
    }
}

pub(super) fn dot(codes: Codes<'_>, xs: &[f32], len: usize, out: &mut [f32]) {
    for (xs, out) in xs.chunks_exact(padded(len)).zip(out) {
        *out = 0.0;
        for (block, xs) in xs[..len].chunks(codes.block).enumerate() {
            let value = |(i, x): (usize, &f32)| codes.table[code(codes.packed, block * codes.block + i)] * x;
            *out += xs.iter().enumerate().map(value).sum::<f32>() * codes.scales[block];
        }
    }
}

pub(super) fn absmax(xs: &[f32]) -> f32 {
    xs.iter().fold(0.0, |largest, x| if x.abs() > largest || x.is_nan() { x.abs() } else { largest })
}

pub(super) fn encode(xs: &[f32], inverse: f32, bounds: &[f32; 16], order: &[u8; 16], out: &mut [u8]) {
    let nearest = |&x: &f32| {
        let x = (x * inverse).clamp(-1.0, 1.0); // keeps NaN
        let mut index = 0;
        for step in [8, 4, 2, 1] {
            let bound = bounds[index + step - 1];
            // Not `x > bound`: a NaN goes to the last value, as in bitsandbytes.
            if x > bound || x.is_nan() {
                index += step;
            }
        }
        order[index]
    };
    for (pair, out) in xs.chunks(2).zip(out) {
        *out = (nearest(&pair[0]) << 4) | nearest(pair.get(1).unwrap_or(&0.0));
    }
}

pub(super) fn widen(format: Format, xs: &[u16], out: &mut [f32]) {
    match format {
        // Apart, so that the compiler makes vectors of it.
        Format::BFloat16 => {
            xs.iter().zip(out).for_each(|(&x, out)| *out = f32::from_bits(u32::from(x) << 16));
        }
        Format::Half => xs.iter().zip(out).for_each(|(&x, out)| *out = Format::Half.widen(x)),
    }
}

pub(super) fn dot8(row: &[i8], xs: &[f32], out: &mut [f32]) {
    for (xs, out) in xs.chunks_exact(row.len()).zip(out) {
        *out = row.iter().zip(xs).map(|(&w, x)| f32::from(w) * x).sum();
    }
}

pub(super) fn decode8(row: &[i8], scale: f32, from: usize, out: &mut Out<'_>) {
    match out {
        Out::F32(out) => {
            row.iter().zip(&mut **out).skip(from).for_each(|(&w, out)| *out = f32::from(w) * scale);
        }
        Out::Half(format, out) => {
            row.iter()
                .zip(&mut **out)
                .skip(from)
                .for_each(|(&w, out)| *out = format.narrow(f32::from(w) * scale));
        }
    }
}
