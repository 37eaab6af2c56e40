//! Rotation of heads by their positions.

use tch::{TchError, Tensor};

use super::outputs::{MOST_ROWS, filled, plain};
use crate::element::{Float, for_kind};
use crate::memory::elements;

/// Rotates heads by their positions (`RoFormer`, arXiv 2104.09864, §3.4.2; the half-split form of transformers'
/// `rotate_half`, so that Hugging Face weights fit): feature `i` and `i + D/2` are a pair.
///
/// `heads` `[N, H, D]`; `cos` and `sin` `[N, 1, D/2]`, or `[1, 1, D/2]` for all; returns the shape and kind of `heads`.
///
/// On a CPU, for up to 8 tokens that need no gradient, in one pass, bit for bit what libtorch's operations give.
///
/// # Errors
/// libtorch's, when shapes do not fit.
pub fn rotate_half(heads: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor, TchError> {
    let fits = match (&heads.size()[..], &cos.size()[..]) {
        (&[tokens, _, width], &[turns, 1, half]) => {
            tokens <= MOST_ROWS
                && half > 0
                && width == 2 * half
                && (turns == 1 || turns == tokens)
                && cos.size() == sin.size()
                && plain(&[heads, cos, sin])
        }
        _ => false,
    };
    if fits {
        for_kind!(heads.kind(), in_one_pass(heads, cos, sin), by_operations(heads, cos, sin))
    } else {
        by_operations(heads, cos, sin)
    }
}

fn by_operations(heads: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor, TchError> {
    let half = heads.size().last().copied().unwrap_or(0) / 2;
    let first = heads.f_narrow(-1, 0, half)?; // [N, H, D/2]
    let second = heads.f_narrow(-1, half, half)?; // [N, H, D/2]
    let rotated_first = first.f_mul(cos)?.f_sub(&second.f_mul(sin)?)?;
    let rotated_second = second.f_mul(cos)?.f_add(&first.f_mul(sin)?)?;
    Tensor::f_cat(&[rotated_first, rotated_second], -1) // [N, H, D]
}

/// Rounds where the operations round.
fn in_one_pass<T: Float>(heads: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor, TchError> {
    let (size, half) = (heads.size(), cos.size()[2] as usize);
    let (token, turns) = (size[1] as usize * 2 * half, cos.size()[0]);
    let (inputs, cos, sin) = (elements::<T>(heads), elements::<T>(cos), elements::<T>(sin));
    let times = |x: T, y: T| T::narrow(x.widen() * y.widen()).widen();
    filled::<T>(heads, |out| {
        for (index, (head, out)) in
            inputs.chunks_exact(2 * half).zip(out.chunks_exact_mut(2 * half)).enumerate()
        {
            let turn = if turns == 1 { 0 } else { index * 2 * half / token * half };
            let (cos, sin) = (&cos[turn..turn + half], &sin[turn..turn + half]);
            let ((first, second), (out_first, out_second)) = (head.split_at(half), out.split_at_mut(half));
            for i in 0..half {
                out_first[i] = T::narrow(times(first[i], cos[i]) - times(second[i], sin[i]));
                out_second[i] = T::narrow(times(second[i], cos[i]) + times(first[i], sin[i]));
            }
        }
    })
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
            for (tokens, turns, heads, half) in [(1, 1, 9, 32), (8, 8, 3, 5), (8, 1, 2, 64), (3, 3, 1, 1)] {
                let xs = random(&[tokens, heads, 2 * half]);
                let (cos, sin) = (random(&[turns, 1, half]), random(&[turns, 1, half]));
                let ours = rotate_half(&xs, &cos, &sin).unwrap();
                assert!(ours.equal(&by_operations(&xs, &cos, &sin).unwrap()), "{kind:?} {tokens} {turns}");
            }
        }
    }

    #[test]
    fn other_shapes_are_left_to_libtorch() {
        let random = |shape: &[i64]| Tensor::randn(shape, (Kind::Float, Device::Cpu));
        let (cos, sin) = (random(&[2, 1, 4]), random(&[2, 1, 4]));
        let trained = random(&[2, 3, 8]).set_requires_grad(true);
        assert!(rotate_half(&trained, &cos, &sin).unwrap().requires_grad());
        assert!(rotate_half(&random(&[3, 3, 8]), &cos, &sin).is_err());
        let across = random(&[3, 2, 8]).transpose(0, 1); // [2, 3, 8]
        let ours = rotate_half(&across, &cos, &sin).unwrap();
        assert!(ours.equal(&by_operations(&across, &cos, &sin).unwrap()));
    }
}
