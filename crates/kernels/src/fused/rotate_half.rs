//! Rotation of heads by their positions.

use tch::{TchError, Tensor};
use torch_ext::{custom, custom_with};

use super::gradient::as_torch;
use super::outputs::filled;
use super::passes::Passes;
use crate::element::{Float, LANES, for_kind, times};
use crate::gpu::{self, Pass};
use crate::memory::elements;
use crate::widest::widest;

/// Rotates heads by their positions (`RoFormer`, arXiv 2104.09864, §3.4.2; the half-split form of transformers'
/// `rotate_half`, so that Hugging Face weights fit): feature `i` and `i + D/2` are a pair.
///
/// `heads` `[N, H, D]`; `cos` and `sin` `[N, 1, D/2]`, or `[1, 1, D/2]` for all; returns the shape and kind of `heads`.
///
/// On a CPU in one pass, bit for bit what libtorch's operations give; the gradient turns back, by `-sin`.
///
/// # Errors
/// libtorch's, when shapes do not fit.
pub fn rotate_half(heads: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor, TchError> {
    // Kernels turn queries and keys at once, by `rotate_both`.
    if !fits(heads, cos, sin) || Passes::of(&[heads, cos, sin], &[]) != Passes::Loops {
        return by_operations(heads, cos, sin);
    }
    if !heads.requires_grad() {
        return turned(heads, cos, sin);
    }
    let [ahead_cos, back_cos] = [cos.shallow_clone(), cos.shallow_clone()];
    let [ahead_sin, back_sin] = [sin.shallow_clone(), sin.f_neg()?];
    custom(
        heads,
        move |heads| turned(heads, &ahead_cos, &ahead_sin),
        move |grad| turned(&grad.f_contiguous()?, &back_cos, &back_sin),
    )
    .map_err(as_torch)
}

/// Rotates queries `[N, H, D]` and keys `[N, K, D]` as [`rotate_half`] does; on a GPU with kernels of ours both in one launch.
///
/// # Errors
/// libtorch's, when shapes do not fit.
pub fn rotate_both(
    queries: &Tensor,
    keys: &Tensor,
    cos: &Tensor,
    sin: &Tensor,
) -> Result<[Tensor; 2], TchError> {
    let fit = fits(queries, cos, sin) && fits(keys, cos, sin);
    if !fit || Passes::of(&[queries, keys, cos, sin], &[Pass::RotateHalf]) != Passes::Kernels {
        return Ok([rotate_half(queries, cos, sin)?, rotate_half(keys, cos, sin)?]);
    }
    if !queries.requires_grad() && !keys.requires_grad() {
        return gpu::rotate_both([queries, keys], [cos, sin], false);
    }
    let [ahead, back] = [(), ()].map(|()| [cos.shallow_clone(), sin.shallow_clone()]);
    custom_with(
        [(queries, false), (keys, false)],
        move |heads| {
            Ok((gpu::rotate_both([&heads[0], &heads[1]], [&ahead[0], &ahead[1]], false)?, Vec::new()))
        },
        move |[of_queries, of_keys], _, _| {
            let grads = [of_queries.f_contiguous()?, of_keys.f_contiguous()?];
            let turned = gpu::rotate_both([&grads[0], &grads[1]], [&back[0], &back[1]], true)?;
            Ok::<_, TchError>(turned.map(Some))
        },
    )
    .map_err(as_torch)
}

fn fits(heads: &Tensor, cos: &Tensor, sin: &Tensor) -> bool {
    match (&heads.size()[..], &cos.size()[..]) {
        (&[tokens, _, width], &[turns, 1, half]) => {
            half > 0 && width == 2 * half && (turns == 1 || turns == tokens) && cos.size() == sin.size()
        }
        _ => false,
    }
}

fn turned(heads: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor, TchError> {
    for_kind!(heads.kind(), in_one_pass(heads, cos, sin), by_operations(heads, cos, sin))
}

fn by_operations(heads: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor, TchError> {
    let half = heads.size().last().copied().unwrap_or(0) / 2;
    let first = heads.f_narrow(-1, 0, half)?; // [N, H, D/2]
    let second = heads.f_narrow(-1, half, half)?; // [N, H, D/2]
    let rotated_first = first.f_mul(cos)?.f_sub(&second.f_mul(sin)?)?;
    let rotated_second = second.f_mul(cos)?.f_add(&first.f_mul(sin)?)?;
    Tensor::f_cat(&[rotated_first, rotated_second], -1) // [N, H, D]
}

fn in_one_pass<T: Float>(heads: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor, TchError> {
    let (size, half) = (heads.size(), cos.size()[2] as usize);
    let (token, turns) = (size[1] as usize * 2 * half, cos.size()[0]);
    let (inputs, cos, sin) = (elements::<T>(heads), elements::<T>(cos), elements::<T>(sin));
    filled::<T>(heads, token, |place, out| {
        let first = if turns == 1 { 0 } else { place / token * half };
        let step = if turns == 1 { 0 } else { half };
        turn_tokens(
            &inputs[place..place + out.len()],
            [&cos[first..], &sin[first..]],
            [half, step, token],
            out,
        );
    })
}

widest! {
/// Turns the heads of whole tokens of `token` numbers; the turn of the next token is `step` numbers on.
fn turn_tokens<T: Float>(inputs: &[T], turns: [&[T]; 2], sizes: [usize; 3], out: &mut [T]) {
    let ([cos, sin], [half, step, token]) = (turns, sizes);
    for (index, (token, out)) in inputs.chunks_exact(token).zip(out.chunks_exact_mut(token)).enumerate() {
        let turn = index * step;
        for (head, out) in token.chunks_exact(2 * half).zip(out.chunks_exact_mut(2 * half)) {
            turn_head(head, [&cos[turn..turn + half], &sin[turn..turn + half]], out);
        }
    }
}
}

/// Multiplies lanes, rounded to the type.
#[inline(always)]
#[expect(clippy::inline_always, reason = "compiled for each width of vectors")]
fn rounded<T: Float>(a: &[f32; LANES], b: &[f32; LANES]) -> [f32; LANES] {
    T::widen_lanes(&T::narrow_lanes(&times(a, b)))
}

/// Rounds where the operations round.
#[inline(always)]
#[expect(clippy::inline_always, reason = "compiled for each width of vectors")]
fn turn_head<T: Float>(head: &[T], [cos, sin]: [&[T]; 2], out: &mut [T]) {
    let half = cos.len();
    let ((first, second), (out_first, out_second)) = (head.split_at(half), out.split_at_mut(half));
    let whole = half / LANES * LANES;
    for start in (0..whole).step_by(LANES) {
        let inputs = [first, second, cos, sin].map(|part| part[start..].first_chunk::<LANES>());
        let [Some(first), Some(second), Some(cos), Some(sin)] = inputs else { continue };
        let [first, second] = [T::widen_lanes(first), T::widen_lanes(second)];
        let [cos, sin] = [T::widen_lanes(cos), T::widen_lanes(sin)];
        let (mut ys, taken) = (rounded::<T>(&first, &cos), rounded::<T>(&second, &sin));
        let (mut other_ys, given) = (rounded::<T>(&second, &cos), rounded::<T>(&first, &sin));
        for lane in 0..LANES {
            ys[lane] -= taken[lane];
            other_ys[lane] += given[lane];
        }
        if let Some(out) = out_first[start..].first_chunk_mut::<LANES>() {
            *out = T::narrow_lanes(&ys);
        }
        if let Some(out) = out_second[start..].first_chunk_mut::<LANES>() {
            *out = T::narrow_lanes(&other_ys);
        }
    }
    let one = |x: T, y: T| T::narrow(x.widen() * y.widen()).widen();
    for i in whole..half {
        out_first[i] = T::narrow(one(first[i], cos[i]) - one(second[i], sin[i]));
        out_second[i] = T::narrow(one(second[i], cos[i]) + one(first[i], sin[i]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn one_pass_gives_the_bits_of_libtorchs_operations() {
        tch::manual_seed(5);
        for kind in [Kind::Float, Kind::BFloat16, Kind::Half] {
            let random = |shape: &[i64]| Tensor::randn(shape, (Kind::Float, Device::Cpu)).to_kind(kind);
            for (tokens, turns, heads, half) in
                [(1, 1, 9, 32), (8, 8, 3, 5), (8, 1, 2, 64), (3, 3, 1, 1), (999, 999, 3, 20)]
            {
                let xs = random(&[tokens, heads, 2 * half]);
                let (cos, sin) = (random(&[turns, 1, half]), random(&[turns, 1, half]));
                let ours = rotate_half(&xs, &cos, &sin).unwrap();
                assert!(ours.equal(&by_operations(&xs, &cos, &sin).unwrap()), "{kind:?} {tokens} {turns}");
            }
        }
    }

    #[test]
    fn the_gradient_gives_the_bits_of_libtorchs() {
        tch::manual_seed(6);
        for kind in [Kind::Float, Kind::BFloat16] {
            let random = |shape: &[i64]| Tensor::randn(shape, (Kind::Float, Device::Cpu)).to_kind(kind);
            let (cos, sin, grad) = (random(&[50, 1, 20]), random(&[50, 1, 20]), random(&[50, 3, 40]));
            let mut heads = random(&[50, 3, 40]).set_requires_grad(true);
            (rotate_half(&heads, &cos, &sin).unwrap() * &grad).sum(Kind::Float).backward();
            let ours = heads.grad().copy();
            heads.zero_grad();
            (by_operations(&heads, &cos, &sin).unwrap() * &grad).sum(Kind::Float).backward();
            assert!(ours.equal(&heads.grad()), "{kind:?}");
        }
    }

    #[test]
    fn other_shapes_are_left_to_libtorch() {
        let random = |shape: &[i64]| Tensor::randn(shape, (Kind::Float, Device::Cpu));
        let (cos, sin) = (random(&[2, 1, 4]), random(&[2, 1, 4]));
        assert!(rotate_half(&random(&[3, 3, 8]), &cos, &sin).is_err());
        let across = random(&[3, 2, 8]).transpose(0, 1); // [2, 3, 8]
        let ours = rotate_half(&across, &cos, &sin).unwrap();
        assert!(ours.equal(&by_operations(&across, &cos, &sin).unwrap()));
    }
}
