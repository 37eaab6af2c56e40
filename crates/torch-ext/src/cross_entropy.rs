//! The head of a language model and its loss in one step.

use tch::{Device, Tensor};
use torch_sys::C_tensor;

use crate::ExtError;
use crate::error::own;

unsafe extern "C" {
    fn torch_ext_linear_cross_entropy(
        hidden: *const C_tensor,
        weight: *const C_tensor,
        labels: *const C_tensor,
        logits_at_once: i64,
    ) -> *mut C_tensor;
}

/// Logits that a loss may hold at once on `device`: on a CPU 2 Mi elements, 8 MiB in fp32, which stay near its caches; on a GPU 64 Mi,
/// 256 MiB, so that launches are few and their work is long.
pub fn logits_at_once(device: Device) -> i64 {
    if device == Device::Cpu { 2 << 20 } else { 64 << 20 }
}

/// Computes the sum of the cross-entropies of `softmax(hidden · weightᵀ)` with `labels`: a scalar in float32.
///
/// `hidden`: `[N, C]`; `weight`: `[V, C]`; `labels`: `[N]`, int64, each in `0..V`. The logits are computed in blocks,
/// in float32, and thrown away; the gradients (of `weight` only where it trains) are computed along with them.
/// After Wijmans et al., "Cut Your Losses in Large-Vocabulary Language Models" (arXiv 2411.09009), without its kernel.
///
/// # Errors
/// [`ExtError::Torch`] when shapes do not fit or a label is out of range.
pub fn linear_cross_entropy(hidden: &Tensor, weight: &Tensor, labels: &Tensor) -> Result<Tensor, ExtError> {
    // SAFETY: borrowed for the call.
    own("linear_cross_entropy", unsafe {
        torch_ext_linear_cross_entropy(
            hidden.as_ptr(),
            weight.as_ptr(),
            labels.as_ptr(),
            logits_at_once(hidden.device()),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Kind, Reduction};

    const TOLERANCE: f64 = 2e-5; // a few roundings of fp32 sums of a few hundred terms

    fn max_difference(a: &Tensor, b: &Tensor) -> f64 {
        (a - b).abs().max().double_value(&[])
    }

    /// Compares both passes over several chunks of rows, the frozen head's also over several blocks of its vocabulary.
    #[test]
    fn loss_and_gradients_equal_the_two_step_form() {
        tch::manual_seed(3);
        let (rows, width, vocab) = (1100, 16, 100);
        for head_trains in [true, false] {
            let hidden = Tensor::randn([rows, width], (Kind::Float, Device::Cpu)).set_requires_grad(true);
            let weight =
                Tensor::randn([vocab, width], (Kind::Float, Device::Cpu)).set_requires_grad(head_trains);
            let labels = Tensor::randint(vocab, [rows], (Kind::Int64, Device::Cpu));
            let plain = hidden.linear(&weight, None::<&Tensor>).cross_entropy_loss(
                &labels,
                None::<&Tensor>,
                Reduction::Sum,
                -100,
                0.0,
            );
            (&plain * 0.5).backward();
            let expected_hidden = hidden.grad().copy();
            let expected_weight = head_trains.then(|| weight.grad().copy());
            let (mut h, mut w) = (hidden.shallow_clone(), weight.shallow_clone());
            h.zero_grad();
            w.zero_grad();
            // SAFETY: borrowed for the call; one logit at once means the least chunks and blocks, of 32 each.
            let ours = own("test", unsafe {
                torch_ext_linear_cross_entropy(hidden.as_ptr(), weight.as_ptr(), labels.as_ptr(), 1)
            })
            .unwrap();
            (&ours * 0.5).backward();
            assert!(max_difference(&ours, &plain) / plain.double_value(&[]) < 1e-6);
            assert!(max_difference(&hidden.grad(), &expected_hidden) < TOLERANCE);
            if let Some(expected) = expected_weight {
                assert!(max_difference(&weight.grad(), &expected) < TOLERANCE * 10.0); // a sum over 1100 rows
            }
        }
    }

    #[test]
    fn huge_logits_do_not_overflow() {
        let hidden = Tensor::from_slice(&[1.0f32, 0.0]).view([1, 2]);
        let weight = Tensor::from_slice(&[1e4f32, 0.0, -1e4, 0.0]).view([2, 2]);
        let loss = |label: i64| {
            linear_cross_entropy(&hidden, &weight, &Tensor::from_slice(&[label])).unwrap().double_value(&[])
        };
        assert_eq!((loss(0), loss(1)), (0.0, 2e4));
    }
}
