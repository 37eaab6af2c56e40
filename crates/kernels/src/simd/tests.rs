//! Every instruction set computes what the scalar kernels do.

use super::*;

/// In ascending order, and in another one with two zeros.
pub(super) static TABLES: [CodeTable; 2] = [
    CodeTable::new([
        -1.0, -0.7, -0.52, -0.39, -0.28, -0.18, -0.09, 0.0, 0.08, 0.16, 0.25, 0.34, 0.44, 0.56, 0.72, 1.0,
    ]),
    CodeTable::new([
        0.0, 0.005, 0.67, 1.0, 0.33, 0.5, 0.17, 0.25, 0.0, -0.005, -0.67, -1.0, -0.33, -0.5, -0.17, -0.25,
    ]),
];

/// Float32 sums of a few thousand terms of about one, in another order.
const SUM: f32 = 2e-3;

/// Makes numbers that look random and are the same each time, in `-1 .. 1`.
fn numbers(len: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (f64::from(state) / f64::from(u32::MAX) * 2.0 - 1.0) as f32
    };
    (0..len).map(|_| next()).collect()
}

fn bytes(len: usize, seed: u32) -> Vec<u8> {
    numbers(len, seed).iter().map(|x| (x * 127.0) as i8 as u8).collect()
}

#[cfg(target_arch = "aarch64")]
#[test]
fn neon_is_among_them() {
    assert_eq!(Isa::best(), Isa::Neon);
}

#[test]
fn decoding_is_the_same_on_every_instruction_set() {
    for (len, block, skipped) in [(640, 64, 0), (96, 32, 0), (64, 128, 64), (333, 64, 32), (100, 64, 6)] {
        let (packed, scales) = (bytes(len, 1), numbers(len / block + 2, 2));
        for table in &TABLES {
            let codes = Codes { packed: &packed, scales: &scales, skipped, block, table: table.values() };
            for isa in Isa::available() {
                let (mut ours, mut plain) = (vec![0.0; len], vec![0.0; len]);
                decode(isa, codes, Out::F32(&mut ours));
                decode(Isa::Scalar, codes, Out::F32(&mut plain));
                assert_eq!(ours, plain, "{isa:?} {len} {block}");
                for format in [Format::BFloat16, Format::Half] {
                    let (mut ours, mut plain) = (vec![0; len], vec![0; len]);
                    decode(isa, codes, Out::Half(format, &mut ours));
                    decode(Isa::Scalar, codes, Out::Half(format, &mut plain));
                    assert_eq!(ours, plain, "{isa:?} {format:?} {len} {block}");
                }
            }
        }
    }
}

#[test]
fn products_are_the_same_on_every_instruction_set() {
    for (len, block) in
        [(128, 32), (1024, 64), (384, 128), (4096, 4096), (576, 64), (32, 32), (224, 32), (64, 32)]
    {
        let (packed, scales) = (bytes(len / 2, 3), numbers(len / block, 4));
        assert!(dot_fits(len, block));
        for (table, rows) in TABLES.iter().flat_map(|table| (1..=MAX_ROWS).map(move |n| (table, n))) {
            let codes = Codes { packed: &packed, scales: &scales, skipped: 0, block, table: table.values() };
            let xs = numbers(rows * len, 5);
            let products = |isa| {
                let (mut arranged, mut out) = (vec![0.0; rows * padded(len)], vec![0.0; rows]);
                for (xs, out) in xs.chunks(len).zip(arranged.chunks_mut(padded(len))) {
                    arrange(isa, xs, out);
                }
                dot(isa, codes, &arranged, len, &mut out);
                out
            };
            let plain = products(Isa::Scalar);
            for isa in Isa::available() {
                for (a, b) in products(isa).iter().zip(&plain) {
                    assert!((a - b).abs() < SUM, "{isa:?} {len} {block} {rows}: {a} {b}");
                }
            }
        }
    }
}

#[test]
fn encoding_is_the_same_on_every_instruction_set_for_nan_too() {
    let mut xs = numbers(256, 6);
    xs[3] = f32::NAN;
    xs[40] = f32::INFINITY;
    xs[41] = 0.0;
    for table in &TABLES {
        let mut bounds = [f32::INFINITY; 16];
        bounds[..15].copy_from_slice(&table.bounds());
        xs[100..115].copy_from_slice(&table.bounds()); // ties
        let mut plain = vec![0; 128];
        encode(Isa::Scalar, &xs, 1.0, &bounds, table.order(), &mut plain);
        for isa in Isa::available() {
            let mut ours = vec![0; 128];
            encode(isa, &xs, 1.0, &bounds, table.order(), &mut ours);
            assert_eq!(ours, plain, "{isa:?} {table:?}");
            assert!(absmax(isa, &xs).is_nan() && absmax(isa, &xs[4..90]) == f32::INFINITY, "{isa:?}");
            assert_eq!(absmax(isa, &xs[50..99]).to_bits(), absmax(Isa::Scalar, &xs[50..99]).to_bits());
        }
    }
}

#[test]
fn eight_bit_rows_are_the_same_on_every_instruction_set() {
    for len in [7, 32, 100, 512] {
        let weights: Vec<i8> = bytes(6 * len, 7).into_iter().map(|byte| byte as i8).collect();
        let row = &weights[..len];
        for rows in 1..=MAX_ROWS {
            let xs = numbers(rows * len, 8);
            let mut plain = vec![0.0; 6 * rows];
            dot8(Isa::Scalar, &weights, &xs, len, &mut plain);
            for isa in Isa::available() {
                let mut ours = vec![0.0; 6 * rows];
                dot8(isa, &weights, &xs, len, &mut ours);
                assert!(ours.iter().zip(&plain).all(|(a, b)| (a - b).abs() < SUM * 127.0), "{isa:?} {len}");
            }
        }
        for isa in Isa::available() {
            let (mut ours, mut plain) = (vec![0; len], vec![0; len]);
            for format in [Format::BFloat16, Format::Half] {
                decode8(isa, row, 0.013, Out::Half(format, &mut ours));
                decode8(Isa::Scalar, row, 0.013, Out::Half(format, &mut plain));
                assert_eq!(ours, plain, "{isa:?} {format:?}");
            }
        }
    }
}

#[test]
fn every_half_comes_back_on_every_instruction_set() {
    let all: Vec<u16> = (0..=u16::MAX).collect();
    for format in [Format::Half, Format::BFloat16] {
        let mut wide = vec![0.0; all.len()];
        for isa in Isa::available() {
            widen(isa, format, &all, &mut wide);
            for (&bits, &x) in all.iter().zip(&wide) {
                assert!(x.is_nan() || format.narrow(x) == bits, "{isa:?} {format:?} {bits:#x}");
            }
        }
    }
}

#[test]
fn a_tables_codes_ascend_and_its_bounds_lie_between_them() {
    for table in &TABLES {
        let sorted: Vec<f32> = table.order().iter().map(|&code| table.values()[usize::from(code)]).collect();
        assert!(sorted.is_sorted());
        let bounds = table.bounds();
        assert!((0..15).all(|i| sorted[i] <= bounds[i] && bounds[i] <= sorted[i + 1]));
    }
    // Of the two zeros the lower code comes first.
    assert_eq!(TABLES[1].order()[7..9], [0, 8]);
}
