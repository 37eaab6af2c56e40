//! Blocks of 8-bit codes with a dynamic exponent (Dettmers, arXiv 1511.04561; bitsandbytes `functional.py`,
//! `create_dynamic_map` and `quantize_blockwise`).
//!
//! A block is scaled by its largest magnitude, and each number replaced by the index of the nearest of 256 values, which
//! lie closer together near zero.

use std::sync::OnceLock;

use tch::{Device, Kind, TchError, Tensor};
use torch_ext::cuda::upload;

use crate::memory::{Chunks, elements, elements_mut, share};

/// Numbers that share a scale.
pub const BLOCK: usize = 256;

/// Numbers and scales of some blocks: codes `[n]`, scales `[ceil(n / 256)]`.
#[derive(Debug)]
pub struct Blocks {
    /// Index into the map of each number, uint8.
    pub codes: Tensor,
    /// Largest magnitude of each block, float32.
    pub absmax: Tensor,
}

/// Returns the 256 values in ascending order: `signed` in `-1 ..= 1`, otherwise in `0 ..= 1`.
pub fn map(signed: bool) -> &'static [f32; 256] {
    static MAPS: [OnceLock<[f32; 256]>; 2] = [OnceLock::new(), OnceLock::new()];
    MAPS[usize::from(signed)].get_or_init(|| build(signed))
}

fn build(signed: bool) -> [f32; 256] {
    let mut values = vec![0.0f32, 1.0];
    for exponent in 0..7i32 {
        let scale = 10f64.powi(exponent - 6);
        let count = if signed { 1usize << exponent } else { 2 << exponent };
        let bounds = linspace(count + 1);
        for pair in bounds.windows(2) {
            let middle = f64::from(f32::midpoint(pair[0], pair[1]));
            // Python multiplies the list's numbers as float32 tensors by a float64 scalar, which torch narrows first.
            let value = middle as f32 * scale as f32;
            values.push(value);
            if signed {
                values.push(-value);
            }
        }
    }
    values.sort_by(f32::total_cmp);
    let mut map = [0.0; 256];
    map.copy_from_slice(&values);
    map
}

/// Computes `torch.linspace(0.1, 1, count)` in float32: from both ends towards the middle.
fn linspace(count: usize) -> Vec<f32> {
    let (start, end) = (0.1f32, 1.0f32);
    let step = (end - start) / (count - 1) as f32;
    let at = |i: usize| {
        if i < count / 2 {
            step.mul_add(i as f32, start)
        } else {
            (-step).mul_add((count - 1 - i) as f32, end)
        }
    };
    (0..count).map(at).collect()
}

/// Quantises `values`, taken as one row of numbers, with the map's 256 ascending values.
///
/// # Errors
/// [`TchError`] when libtorch cannot allocate.
pub fn quantize(values: &Tensor, signed: bool) -> Result<Blocks, TchError> {
    let values = values.f_to_kind(Kind::Float)?.f_contiguous()?.f_view([-1i64])?;
    if values.device() != Device::Cpu {
        return quantize_with_ops(&values, signed);
    }
    let (len, map) = (values.numel(), map(signed));
    let mut codes = Tensor::f_empty([len as i64], (Kind::Uint8, Device::Cpu))?;
    let mut absmax = Tensor::f_empty([len.div_ceil(BLOCK) as i64], (Kind::Float, Device::Cpu))?;
    let bounds = midpoints(map);
    let input = elements::<f32>(&values);
    let parts = (
        Chunks::new(elements_mut::<u8>(&mut codes), BLOCK),
        Chunks::new(elements_mut::<f32>(&mut absmax), 1),
    );
    share(parts, |block, (output, scale)| {
        let start = block * BLOCK;
        scale[0] = quantize_block(&input[start..start + output.len()], &bounds, output);
    });
    Ok(Blocks { codes, absmax })
}

fn midpoints(map: &[f32; 256]) -> [f32; 255] {
    std::array::from_fn(|i| f32::midpoint(map[i], map[i + 1]))
}

/// Writes the codes of one block and returns its scale. A block of zeros has scale 0 and the code of 0; a NaN makes
/// the scale NaN.
fn quantize_block(input: &[f32], bounds: &[f32; 255], output: &mut [u8]) -> f32 {
    let larger = |scale: f32, &x: &f32| if x.abs() > scale || x.is_nan() { x.abs() } else { scale };
    let scale = input.iter().fold(0.0f32, larger);
    let divisor = if scale < 1e-38 { 1e-38 } else { scale };
    let inverse = 1.0 / divisor;
    for (x, code) in input.iter().zip(output) {
        let x = x * inverse;
        // Seven comparisons find the half, quarter … that holds the number: the count of midpoints below it.
        let (mut low, mut step) = (0usize, 128usize);
        while step > 0 {
            if x > bounds[low + step - 1] {
                low += step;
            }
            step /= 2;
        }
        *code = low as u8;
    }
    scale
}

/// Computes the numbers that `blocks` stand for: float32, `[n]`.
///
/// # Errors
/// [`TchError`] when libtorch cannot allocate.
pub fn dequantize(blocks: &Blocks, signed: bool) -> Result<Tensor, TchError> {
    let Blocks { codes, absmax } = blocks;
    if codes.device() != Device::Cpu {
        return dequantize_with_ops(blocks, signed);
    }
    let (len, map) = (codes.numel(), map(signed));
    let mut values = Tensor::f_empty([len as i64], (Kind::Float, Device::Cpu))?;
    let (input, scales) = (elements::<u8>(codes), elements::<f32>(absmax));
    share(Chunks::new(elements_mut::<f32>(&mut values), BLOCK), |block, output| {
        let (start, scale) = (block * BLOCK, scales[block]);
        for (&code, value) in input[start..start + output.len()].iter().zip(output) {
            *value = map[usize::from(code)] * scale;
        }
    });
    Ok(values)
}

/// Quantises as [`quantize`] does, in plain tensor operations, on any device: its reference.
fn quantize_with_ops(values: &Tensor, signed: bool) -> Result<Blocks, TchError> {
    let values = values.f_to_kind(Kind::Float)?.f_reshape([-1i64])?;
    let len = values.numel() as i64;
    let padded = values.f_constant_pad_nd([0, padding(len)])?;
    let rows = padded.f_view([-1, BLOCK as i64])?;
    let absmax = rows.f_abs()?.f_amax([1i64].as_slice(), true)?;
    let scaled = rows.f_mul(&absmax.f_clamp_min(1e-38)?.f_reciprocal()?)?;
    let bounds = upload(&midpoints(map(signed)), values.device())?;
    let codes = scaled.f_bucketize(&bounds, true, false)?.f_to_kind(Kind::Uint8)?;
    Ok(Blocks { codes: codes.f_view([-1i64])?.f_narrow(0, 0, len)?, absmax: absmax.f_view([-1i64])? })
}

/// Zeros that fill the last block.
fn padding(len: i64) -> i64 {
    (len as usize).next_multiple_of(BLOCK) as i64 - len
}

/// Dequantises as [`dequantize`] does, in plain tensor operations, on any device: its reference.
fn dequantize_with_ops(blocks: &Blocks, signed: bool) -> Result<Tensor, TchError> {
    let len = blocks.codes.numel() as i64;
    let map = upload(map(signed), blocks.codes.device())?;
    let values = map.f_index_select(0, &blocks.codes.f_to_kind(Kind::Int64)?)?;
    let padded = values.f_constant_pad_nd([0, padding(len)])?.f_view([-1, BLOCK as i64])?;
    padded.f_mul(&blocks.absmax.f_unsqueeze(1)?)?.f_view([-1i64])?.f_narrow(0, 0, len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loops_equal_tensor_operations_on_whole_and_part_blocks() {
        tch::manual_seed(1);
        for len in [1i64, 255, 256, 700, 5000] {
            for signed in [true, false] {
                let values = Tensor::randn([len], (Kind::Float, Device::Cpu)) * 0.01;
                let values = if signed { values } else { values.abs() };
                let (ours, plain) =
                    (quantize(&values, signed).unwrap(), quantize_with_ops(&values, signed).unwrap());
                assert_eq!((&ours.codes, &ours.absmax), (&plain.codes, &plain.absmax), "{len} {signed}");
                let (back, plain) =
                    (dequantize(&ours, signed).unwrap(), dequantize_with_ops(&plain, signed).unwrap());
                assert_eq!(back, plain);
                let error = (back - &values).abs().max().double_value(&[]);
                assert!(error <= 0.01 * ours.absmax.max().double_value(&[]), "{len} {signed}: {error}");
            }
        }
    }

    #[test]
    fn zeros_stay_zeros_and_nan_spreads_over_its_block() {
        let zeros = Tensor::zeros([300], (Kind::Float, Device::Cpu));
        let blocks = quantize(&zeros, true).unwrap();
        assert_eq!(dequantize(&blocks, true).unwrap(), zeros);
        let with_nan = Tensor::from_slice(&[1.0f32, f32::NAN, 2.0]);
        let back = dequantize(&quantize(&with_nan, true).unwrap(), true).unwrap();
        assert!(back.isnan().all().int64_value(&[]) == 1);
    }
}
