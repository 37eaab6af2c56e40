//! Launches of the fused passes: kernels for float32, bfloat16 and float16 that read and write contiguous tensors. `None` where one
//! does not fit.

use tch::{Kind, Tensor};

use super::launches::{MAX_BLOCKS, THREADS, is, parts};
use super::sources::{
    DROPOUT, DROPOUTS, FACTORS, GATE_GRADIENTS, GATES, NARROWED, NORM_GRADIENTS, NORMS, RMS_NORM,
    ROTATE_HALF, ROTATIONS, SWIGLU, WIDENED, of_kind,
};
use crate::cuda::{Argument, Launch, Source};
use crate::fused::Dropout;

/// Numbers that a thread works on at a time, in two bytes each.
const PACK: i64 = 8;

/// Returns the launch that writes the norm of each row of `xs` into `out`.
pub(super) fn rms_norm<'a>(
    xs: &'a Tensor,
    weight: &'a Tensor,
    eps: f64,
    out: &'a Tensor,
) -> Option<Launch<'a>> {
    rows(&NORMS, &[xs, out], &[xs, weight, out], weight, eps)
}

/// Returns the launch that writes the gradient of `xs` into `out`.
pub(super) fn rms_norm_backward<'a>(
    grad: &'a Tensor,
    xs: &'a Tensor,
    weight: &'a Tensor,
    eps: f64,
    out: &'a Tensor,
) -> Option<Launch<'a>> {
    rows(&NORM_GRADIENTS, &[grad, xs, out], &[grad, xs, weight, out], weight, eps)
}

/// Returns the launch with a block for each row of `alike`.
fn rows<'a>(
    names: &[&'static str; 3],
    alike: &[&Tensor],
    tensors: &[&'a Tensor],
    weight: &Tensor,
    eps: f64,
) -> Option<Launch<'a>> {
    let (width, len) = (weight.numel() as i64, alike[0].numel() as i64);
    let count = len.checked_div(width)?;
    let function = name(names, tensors)?;
    let fits = same_len(alike) && count * width == len && [width, count].iter().all(|&n| small(n));
    let threads = (parts(parts(width, PACK), 32) * 32).clamp(32, THREADS);
    let mut arguments = addresses(tensors);
    arguments.extend([Argument::Int(width as i32), Argument::Float(eps as f32)]);
    fits.then(|| launch(&RMS_NORM, function, [count, threads], arguments))
}

/// Returns the launch that turns heads, `[N, H, D]`, and those of a second tensor with other heads, by `cos` and `sin`, `[N, 1, D/2]`
/// or `[1, 1, D/2]`: forward, or back again.
pub(super) fn rotate_half<'a>(
    heads: [&'a Tensor; 2],
    turns: [&'a Tensor; 2],
    back: bool,
    outs: [&'a Tensor; 2],
) -> Option<Launch<'a>> {
    let [tokens, first, width] = heads[0].size()[..] else { return None };
    let [_, second, _] = heads[1].size()[..] else { return None };
    let half = width / 2;
    let step = if turns[0].size()[0] == 1 { 0 } else { half };
    let tensors = [heads[0], heads[1], turns[0], turns[1], outs[0], outs[1]];
    let function = name(&ROTATIONS, &tensors)?;
    let fits = same_len(&[heads[0], outs[0]])
        && same_len(&[heads[1], outs[1]])
        && heads[1].size() == [tokens, second, width]
        && turns.iter().all(|turn| turn.numel() as i64 == if step == 0 { half } else { tokens * half })
        && width == 2 * half
        && [first + second, width].iter().all(|&n| small(n));
    let number = |value: i64| Argument::Int(value as i32);
    let mut arguments = addresses(&tensors);
    arguments.extend([number(first), number(second), number(half), number(step), Argument::Long(tokens)]);
    arguments.push(Argument::Float(if back { -1.0 } else { 1.0 }));
    let blocks = in_packs(tokens * (first + second) * half);
    fits.then(|| launch(&ROTATE_HALF, function, [blocks, THREADS], arguments))
}

/// Returns the launch that writes `silu(gate) · up` into `out`.
pub(super) fn swiglu<'a>(gate: &'a Tensor, up: &'a Tensor, out: &'a Tensor) -> Option<Launch<'a>> {
    elements(&SWIGLU, &GATES, &[gate, up, out])
}

/// Returns the launch that writes the gradients of `gate` and `up` into `outs`.
pub(super) fn swiglu_backward<'a>(
    grad: &'a Tensor,
    gate: &'a Tensor,
    up: &'a Tensor,
    outs: [&'a Tensor; 2],
) -> Option<Launch<'a>> {
    elements(&SWIGLU, &GATE_GRADIENTS, &[grad, gate, up, outs[0], outs[1]])
}

/// Returns the launch over numbers that lie alike in all tensors.
fn elements<'a>(
    source: &'static Source,
    names: &[&'static str; 3],
    tensors: &[&'a Tensor],
) -> Option<Launch<'a>> {
    let (function, len) = (name(names, tensors)?, tensors[0].numel() as i64);
    let mut arguments = addresses(tensors);
    arguments.push(Argument::Long(len));
    same_len(tensors).then(|| launch(source, function, [in_packs(len), THREADS], arguments))
}

/// Returns the launch that writes `xs`, `[.., C]`, with its zeros into `out`.
pub(super) fn dropout<'a>(xs: &'a Tensor, dropout: Dropout, out: &'a Tensor) -> Option<Launch<'a>> {
    let (len, width) = (xs.numel() as i64, xs.size().last().copied()?);
    let function = name(&DROPOUTS, &[xs, out])?;
    let fits = same_len(&[xs, out]) && width > 0 && small(width);
    let mut arguments = addresses(&[xs, out]);
    let (threshold, kept) = dropout.factors();
    arguments.extend([Argument::Long(dropout.seed as i64), Argument::Int(threshold as i32)]);
    arguments.extend([Argument::Float(kept), Argument::Int(width as i32), Argument::Long(len)]);
    fits.then(|| launch(&DROPOUT, function, [in_packs(len), THREADS], arguments))
}

/// Returns the launch that writes `a` and `scale · b`, float32, one after the other into `both`.
pub(super) fn narrow_factors<'a>(
    a: &'a Tensor,
    b: &'a Tensor,
    scale: f64,
    both: &'a Tensor,
) -> Option<Launch<'a>> {
    let [a_len, b_len, len] = [a, b, both].map(|xs| xs.numel() as i64);
    let function = name(&NARROWED, &[both])?;
    let fits = is(a, Kind::Float, 4) && is(b, Kind::Float, 4) && a_len + b_len == len;
    let mut arguments = addresses(&[a, b]);
    arguments.extend([Argument::Float(scale as f32), Argument::Tensor(Some(both))]);
    arguments.extend([Argument::Long(a_len), Argument::Long(b_len)]);
    fits.then(|| launch(&FACTORS, function, [in_packs(len), THREADS], arguments))
}

/// Returns the launch that writes the gradients `of_a` and `scale · of_b` into `a` and `b`, float32.
pub(super) fn widen_factors<'a>(
    of_a: &'a Tensor,
    of_b: &'a Tensor,
    scale: f64,
    a: &'a Tensor,
    b: &'a Tensor,
) -> Option<Launch<'a>> {
    let function = name(&WIDENED, &[of_a, of_b])?;
    let fits = is(a, Kind::Float, 4) && is(b, Kind::Float, 4) && same_len(&[a, of_a]) && same_len(&[b, of_b]);
    let (a_len, b_len) = (a.numel() as i64, b.numel() as i64);
    let mut arguments = addresses(&[of_a, of_b]);
    arguments.push(Argument::Float(scale as f32));
    arguments.extend(addresses(&[a, b]));
    arguments.extend([Argument::Long(a_len), Argument::Long(b_len)]);
    fits.then(|| launch(&FACTORS, function, [in_packs(a_len + b_len), THREADS], arguments))
}

/// Returns the kernel for the kind of all of `tensors`, which have numbers and are in one piece each.
fn name(names: &[&'static str; 3], tensors: &[&Tensor]) -> Option<&'static str> {
    let kind = tensors[0].kind();
    let fit = tensors.iter().all(|xs| is(xs, kind, kind.elt_size_in_bytes()));
    of_kind(names, kind).filter(|_| fit)
}

fn same_len(tensors: &[&Tensor]) -> bool {
    let len = tensors[0].numel();
    len > 0 && tensors.iter().all(|xs| xs.numel() == len)
}

/// Returns whether a size is an `int` of a kernel, and a row of blocks of a device.
fn small(size: i64) -> bool {
    (0..=i64::from(i32::MAX)).contains(&size)
}

/// Returns blocks for as many numbers.
fn in_packs(len: i64) -> i64 {
    parts(len, PACK * THREADS).clamp(1, MAX_BLOCKS)
}

fn addresses<'a>(tensors: &[&'a Tensor]) -> Vec<Argument<'a>> {
    tensors.iter().map(|&tensor| Argument::Tensor(Some(tensor))).collect()
}

fn launch<'a>(
    source: &'static Source,
    function: &'static str,
    [blocks, threads]: [i64; 2],
    arguments: Vec<Argument<'a>>,
) -> Launch<'a> {
    Launch { source, function, blocks: blocks as u32, threads: threads as u32, arguments }
}
