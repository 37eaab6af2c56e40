//! Launches of the kernels: which shapes they take, how many threads, which arguments. `None` where a kernel does not fit.

use tch::{Kind, Tensor};

use super::sources::{
    DEQUANTIZE, DEQUANTIZE8, MATVEC4, MATVEC4_NAMES, MATVEC8, MATVEC8_NAMES, NUMBERS8, QUANTIZE, ROWS,
    of_kind,
};
use crate::cuda::{Argument, Launch, Source};
use crate::data::{Blocks4, Rows8, Scales};
use crate::simd::CodeTable;

/// Threads of a block.
pub(super) const THREADS: i64 = 256;
/// Warps of a block; each takes a row of a weight or a block of numbers.
const WARPS: i64 = THREADS / 32;
/// Enough blocks to fill any device; each then takes more than one part.
pub(super) const MAX_BLOCKS: i64 = 2048;
/// Numbers that share a scale where weights are quantised on a device.
const QUANTIZE_BLOCK: i64 = 64;

/// Returns the launch that writes `weight` in bfloat16 into `out`, which has as many numbers.
pub(super) fn dequantize<'a>(weight: &'a Blocks4, out: &'a Tensor) -> Option<Launch<'a>> {
    let len = out.numel() as i64;
    let fits = len > 0 && len % 8 == 0 && len == weight.shape().iter().product::<i64>();
    if !fits || !is(out, Kind::BFloat16, 16) || !is(weight.packed(), Kind::Uint8, 4) {
        return None;
    }
    let mut arguments = vec![Argument::Tensor(Some(weight.packed())), values(weight.table())];
    arguments.extend(scales(weight)?);
    arguments.extend([Argument::Long(len / 8), Argument::Tensor(Some(out))]);
    let blocks = parts(len, 8 * THREADS).min(MAX_BLOCKS);
    Some(launch(&DEQUANTIZE, "nf4_dequantize", blocks, arguments))
}

/// Returns the launch that writes `weight` into `out`, which has as many numbers, in its kind.
pub(super) fn dequantize8<'a>(weight: &'a Rows8, out: &'a Tensor) -> Option<Launch<'a>> {
    let (len, kind, width) = (out.numel() as i64, out.kind(), weight.columns() as i64);
    let function = of_kind(&NUMBERS8, kind)?;
    let (codes, absmax) = (weight.codes(), weight.absmax());
    let fits = len > 0 && len == codes.numel() as i64 && width <= i64::from(i32::MAX);
    let size = kind.elt_size_in_bytes();
    if !fits || !is(codes, Kind::Int8, 1) || !is(absmax, Kind::Float, 4) || !is(out, kind, size) {
        return None;
    }
    let mut arguments: Vec<_> = [codes, absmax, out].map(|tensor| Argument::Tensor(Some(tensor))).into();
    arguments.extend([Argument::Int(width as i32), Argument::Long(len)]);
    let blocks = parts(len, 8 * THREADS).min(MAX_BLOCKS);
    Some(launch(&DEQUANTIZE8, function, blocks, arguments))
}

/// Returns the launch that computes `xs Wᵀ`, `[rows, inputs]`, into `ys`, `[rows, outputs]`, both bfloat16.
pub(super) fn matvec4<'a>(weight: &'a Blocks4, xs: &'a Tensor, ys: &'a Tensor) -> Option<Launch<'a>> {
    let [outputs, inputs] = weight.shape()[..] else { return None };
    let (variant, sizes) = sizes(xs, ys, inputs, outputs)?;
    if inputs % 32 != 0 || !is(weight.packed(), Kind::Uint8, 16) || !is(xs, Kind::BFloat16, 16) {
        return None;
    }
    let mut arguments = vec![Argument::Tensor(Some(weight.packed())), values(weight.table())];
    arguments.extend(scales(weight)?);
    arguments.extend([Argument::Tensor(Some(xs)), Argument::Tensor(Some(ys))]);
    arguments.extend(sizes);
    Some(launch(&MATVEC4, MATVEC4_NAMES[variant], parts(outputs, WARPS), arguments))
}

/// Returns the launch that computes `xs Wᵀ`, `[rows, inputs]`, into `ys`, `[rows, outputs]`, both bfloat16.
pub(super) fn matvec8<'a>(weight: &'a Rows8, xs: &'a Tensor, ys: &'a Tensor) -> Option<Launch<'a>> {
    let (outputs, inputs) = (weight.rows() as i64, weight.columns() as i64);
    let (variant, sizes) = sizes(xs, ys, inputs, outputs)?;
    let (codes, absmax) = (weight.codes(), weight.absmax());
    if inputs % 16 != 0
        || !is(codes, Kind::Int8, 16)
        || !is(absmax, Kind::Float, 4)
        || !is(xs, Kind::BFloat16, 8)
    {
        return None;
    }
    let mut arguments: Vec<_> = [codes, absmax, xs, ys].map(|tensor| Argument::Tensor(Some(tensor))).into();
    arguments.extend(sizes);
    Some(launch(&MATVEC8, MATVEC8_NAMES[variant], parts(outputs, WARPS), arguments))
}

/// Returns the launch that writes the codes of `xs`, bfloat16, in whole blocks of 64, into `packed`, and the scale of each
/// block into `scales`.
pub(super) fn quantize<'a>(
    xs: &'a Tensor,
    table: &CodeTable,
    packed: &'a Tensor,
    scales: &'a Tensor,
) -> Option<Launch<'a>> {
    let (len, blocks) = (xs.numel() as i64, scales.numel() as i64);
    let fits = len > 0 && len == blocks * QUANTIZE_BLOCK && packed.numel() as i64 * 2 == len;
    if !fits || !is(xs, Kind::BFloat16, 4) || !is(packed, Kind::Uint8, 1) || !is(scales, Kind::Float, 4) {
        return None;
    }
    let mut bounds = [f32::INFINITY; 16];
    bounds[..15].copy_from_slice(&table.bounds());
    let arguments = vec![
        Argument::Tensor(Some(xs)),
        Argument::Floats(bounds),
        Argument::Bytes(*table.order()),
        Argument::Tensor(Some(packed)),
        Argument::Tensor(Some(scales)),
        Argument::Long(blocks),
    ];
    // A device takes this many blocks in one row.
    let grid = parts(blocks, WARPS);
    (grid <= i64::from(i32::MAX)).then(|| launch(&QUANTIZE, "nf4_quantize", grid, arguments))
}

fn launch<'a>(
    source: &'static Source,
    function: &'static str,
    blocks: i64,
    arguments: Vec<Argument<'a>>,
) -> Launch<'a> {
    Launch { source, function, blocks: blocks as u32, threads: THREADS as u32, arguments }
}

/// Returns how many parts of `size` there are, the last perhaps not whole.
pub(super) fn parts(len: i64, size: i64) -> i64 {
    (len + size - 1) / size
}

fn values(table: &CodeTable) -> Argument<'static> {
    Argument::Floats(*table.values())
}

/// Returns `scales`, `nested`, `map`, `offset` and `block_log2` of the kernels for 4 bits.
fn scales(weight: &Blocks4) -> Option<[Argument<'_>; 5]> {
    let block_log2 = Argument::Int(weight.block_size().trailing_zeros() as i32);
    match weight.scales() {
        Scales::Plain(scales) => is(scales, Kind::Float, 4).then_some([
            Argument::Tensor(Some(scales)),
            Argument::Tensor(None),
            Argument::Tensor(None),
            Argument::Float(0.0),
            block_log2,
        ]),
        Scales::Nested { codes, absmax, map, offset } => {
            let fit = is(codes, Kind::Uint8, 1) && is(absmax, Kind::Float, 4) && is(map, Kind::Float, 4);
            (fit && map.numel() == 256).then_some([
                Argument::Tensor(Some(codes)),
                Argument::Tensor(Some(absmax)),
                Argument::Tensor(Some(map)),
                Argument::Float(*offset),
                block_log2,
            ])
        }
    }
}

/// Returns which of [`ROWS`] a product takes, and `rows`, `inputs` and `outputs` of its kernel.
fn sizes(xs: &Tensor, ys: &Tensor, inputs: i64, outputs: i64) -> Option<(usize, [Argument<'static>; 3])> {
    let [rows, width] = xs.size()[..] else { return None };
    let fits = rows > 0 && width == inputs && inputs > 0 && outputs > 0 && ys.size() == [rows, outputs];
    let small = inputs.max(outputs) <= i64::from(i32::MAX / 64) && is(ys, Kind::BFloat16, 2);
    let variant = ROWS.iter().position(|&most| rows as usize <= most)?;
    let number = |value: i64| Argument::Int(value as i32);
    (fits && small).then(|| (variant, [number(rows), number(inputs), number(outputs)]))
}

/// Returns whether a tensor is contiguous, of that kind, and begins at a multiple of `alignment` bytes.
pub(super) fn is(tensor: &Tensor, kind: Kind, alignment: usize) -> bool {
    tensor.kind() == kind && tensor.is_contiguous() && (tensor.data_ptr() as usize).is_multiple_of(alignment)
}
