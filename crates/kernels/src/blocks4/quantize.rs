//! Quantising on a CPU.

use tch::{Device, Kind, TchError, Tensor};

use crate::memory::{Chunks, elements_mut, share_out};
use crate::reference::LEAST_SCALE;
use crate::rows::Input;
use crate::simd::{self, CodeTable, Isa};

/// Numbers that one task of a loop takes: a whole number of blocks of every size.
pub(super) const TASK: usize = 1 << 14;

/// Computes codes `[ceil(n / 2), 1]` and scales of a contiguous CPU tensor.
pub(super) fn on_cpu(xs: &Tensor, table: &CodeTable, block: usize) -> Result<(Tensor, Tensor), TchError> {
    let len = xs.numel();
    let new = |len: usize, kind| Tensor::f_empty([len as i64], (kind, Device::Cpu));
    let mut packed = new(len.div_ceil(2), Kind::Uint8)?;
    let mut scales = new(len.div_ceil(block), Kind::Float)?;
    let mut bounds = [f32::INFINITY; 16];
    bounds[..15].copy_from_slice(&table.bounds());
    let input = Input::new(xs);
    let parts = (
        Chunks::new(elements_mut::<u8>(&mut packed), TASK / 2),
        Chunks::new(elements_mut::<f32>(&mut scales), TASK / block),
    );
    share_out(
        parts,
        || vec![0.0; block],
        |buffer, task, (codes, scales)| {
            let start = task * TASK;
            for (index, (codes, scale)) in codes.chunks_mut(block / 2).zip(scales).enumerate() {
                let start = start + index * block;
                let size = block.min(len - start);
                *scale = encode_block(input.read(start, size, buffer), table, size == block, &bounds, codes);
            }
        },
        drop,
    );
    Ok((packed.f_unsqueeze(1)?, scales))
}

/// Writes the codes of a block and returns its scale.
fn encode_block(xs: &[f32], table: &CodeTable, whole: bool, bounds: &[f32; 16], out: &mut [u8]) -> f32 {
    let isa = Isa::best();
    let absmax = simd::absmax(isa, xs);
    let least = if absmax < LEAST_SCALE { LEAST_SCALE } else { absmax };
    if whole {
        simd::encode(isa, xs, 1.0 / least, bounds, table.order(), out);
        return absmax;
    }
    // bitsandbytes divides in the last, partial block, and keeps the clamped scale.
    let scaled: Vec<f32> = xs.iter().map(|x| x / least).collect();
    simd::encode(Isa::Scalar, &scaled, 1.0, bounds, table.order(), out);
    least
}
