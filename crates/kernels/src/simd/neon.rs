//! NEON: the bytes of a table of 16 values are four registers, which one instruction looks 16 bytes up in.
//!
//! Its tests pass in QEMU's emulation; it has never been timed on real ARM hardware.

#[allow(clippy::wildcard_imports, reason = "intrinsics")]
use std::arch::aarch64::*;

use super::codes::{Codes, Out, UNIT, padded};

/// Looks up the values of four codes, one in the lowest byte of each lane.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn look_up(table: uint8x16x4_t, lanes: uint32x4_t) -> float32x4_t {
    // Byte b of lane l of the result is byte 4 * code + b of the table.
    let base = vmulq_n_u32(lanes, 0x0404_0404);
    let index = vaddq_u32(base, vdupq_n_u32(0x0302_0100));
    vreinterpretq_f32_u8(vqtbl4q_u8(table, vreinterpretq_u8_u32(index)))
}

#[target_feature(enable = "neon")]
#[inline]
unsafe fn load_table(table: &[f32; 16]) -> uint8x16x4_t {
    // SAFETY: 64 bytes.
    unsafe { vld1q_u8_x4(table.as_ptr().cast()) }
}

/// Looks up the 16 values of eight bytes.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn values(table: uint8x16x4_t, bytes: *const u8) -> [float32x4_t; 4] {
    // SAFETY: by the caller, 8 bytes are there.
    unsafe {
        let bytes = vld1_u8(bytes);
        let codes = vzipq_u8(
            vcombine_u8(vshr_n_u8::<4>(bytes), bytes),
            vcombine_u8(vand_u8(bytes, vdup_n_u8(15)), bytes),
        )
        .0;
        let (low, high) = (vmovl_u8(vget_low_u8(codes)), vmovl_u8(vget_high_u8(codes)));
        [
            look_up(table, vmovl_u16(vget_low_u16(low))),
            look_up(table, vmovl_u16(vget_high_u16(low))),
            look_up(table, vmovl_u16(vget_low_u16(high))),
            look_up(table, vmovl_u16(vget_high_u16(high))),
        ]
    }
}

/// Decodes `units` times 32 codes; returns how many numbers were written.
#[target_feature(enable = "neon")]
pub(super) unsafe fn decode(codes: Codes<'_>, units: usize, out: &mut Out<'_>) -> usize {
    // SAFETY: by the caller, codes, scales and `out` are there for `units` of 32.
    unsafe {
        let table = load_table(codes.table);
        for half in 0..units * 2 {
            let scale = codes.scale(half * UNIT / 2);
            let quads = values(table, codes.packed.as_ptr().add(half * UNIT / 4));
            for (i, quad) in quads.into_iter().enumerate() {
                let (quad, start) = (vmulq_n_f32(quad, scale), half * 16 + 4 * i);
                match out {
                    Out::F32(out) => vst1q_f32(out.as_mut_ptr().add(start), quad),
                    Out::Half(format, out) => {
                        let mut four = [0f32; 4];
                        vst1q_f32(four.as_mut_ptr(), quad);
                        for (out, x) in out[start..start + 4].iter_mut().zip(four) {
                            *out = format.narrow(x);
                        }
                    }
                }
            }
        }
        units * UNIT
    }
}

#[target_feature(enable = "neon")]
pub(super) unsafe fn dot(codes: Codes<'_>, xs: &[f32], len: usize, out: &mut [f32]) {
    for (row, out) in out.iter_mut().enumerate() {
        let xs = &xs[row * padded(len)..][..len];
        // SAFETY: `len` is a multiple of 16, and codes and scales suffice for it.
        unsafe {
            let table = load_table(codes.table);
            let mut sum = vdupq_n_f32(0.0);
            for half in 0..len / 16 {
                let scale = codes.scale(half * 16);
                let quads = values(table, codes.packed.as_ptr().add(half * 8));
                let mut part = vdupq_n_f32(0.0);
                for (i, quad) in quads.into_iter().enumerate() {
                    part = vfmaq_f32(part, quad, vld1q_f32(xs.as_ptr().add(half * 16 + 4 * i)));
                }
                sum = vfmaq_n_f32(sum, part, scale);
            }
            *out = vaddvq_f32(sum);
        }
    }
}
