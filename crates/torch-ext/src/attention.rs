//! Attention within texts that lie one after another.

use tch::Tensor;
use torch_sys::C_tensor;

use crate::ExtError;
use crate::error::own;

unsafe extern "C" {
    fn torch_ext_flash_attention(
        q: *const C_tensor,
        k: *const C_tensor,
        v: *const C_tensor,
        ends: *const C_tensor,
        longest: i64,
    ) -> *mut C_tensor;
}

/// Computes causal attention within texts that lie one after another, by `FlashAttention` on a CUDA device (Dao, 2023, arXiv
/// 2307.08691): `q` `[N, H, D]`, `k` and `v` `[N, K, D]` to `[N, H, D]`, float16 or bfloat16, `D` a multiple of 8 and at most 256.
/// `ends`: 0 and the end of each text, `[texts + 1]`, int32, on the device; `longest`: the most tokens of a text. Query head `h`
/// reads key head `h / (H / K)`. Gradients flow to `q`, `k` and `v`.
///
/// # Errors
/// [`ExtError::Torch`] for other tensors, on a CPU, and where a GPU lacks it (before compute capability 8.0).
pub fn flash_attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    ends: &Tensor,
    longest: i64,
) -> Result<Tensor, ExtError> {
    // SAFETY: borrowed for the call.
    own("flash_attention", unsafe {
        torch_ext_flash_attention(q.as_ptr(), k.as_ptr(), v.as_ptr(), ends.as_ptr(), longest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn on_a_cpu_it_is_an_error_and_no_crash() {
        let xs = Tensor::ones([3, 1, 8], (Kind::BFloat16, Device::Cpu));
        assert!(flash_attention(&xs, &xs, &xs, &Tensor::from_slice(&[0i32, 3]), 3).is_err());
    }
}
