//! Attention within texts in one call, on a GPU.

use std::sync::LazyLock;

use tch::{Device, Kind, TchError, Tensor};
use torch_ext::cuda::upload;
use torch_ext::flash_attention;

use super::gradient::as_torch;
use crate::error::KernelError;
use crate::gpu::{KernelStatus, numbers, within};

/// Apart from that of kernels of ours, which need a compiler.
static STATUS: LazyLock<KernelStatus> = LazyLock::new(KernelStatus::default);

/// The widest heads whose gradients every GPU with `FlashAttention` computes.
const WIDEST: i64 = 192;

/// Largest error in the check, as a part of the largest expected number: the weights are rounded to the kind.
const TOLERANCE: f64 = 1.0 / 32.0;

/// Ends of texts that lie one after another, on a GPU whose attention takes all of them at once.
#[derive(Debug)]
pub struct TextEnds {
    /// `[texts + 1]`, int32.
    ends: Tensor,
    longest: i64,
}

impl TextEnds {
    /// Puts the ends of texts of `lens` tokens on `device`, for heads of `width` features. `None` where attention takes text by text:
    /// on a CPU, in float32, for other widths, and on a GPU whose `FlashAttention` fails its check, which is made when that is first
    /// asked.
    ///
    /// # Errors
    /// libtorch's, when memory is short.
    pub fn new(lens: &[i64], device: Device, kind: Kind, width: i64) -> Result<Option<Self>, TchError> {
        let (Device::Cuda(index), Some(&longest)) = (device, lens.iter().max()) else { return Ok(None) };
        let name = match kind {
            Kind::BFloat16 => "flash_attention_bfloat16",
            Kind::Half => "flash_attention_float16",
            _ => return Ok(None),
        };
        let total = lens.iter().sum::<i64>();
        if width % 8 != 0 || width > WIDEST || total > i64::from(i32::MAX) {
            return Ok(None);
        }
        if !STATUS.usable((index, name), || tch::with_grad(|| check(device, kind))) {
            return Ok(None);
        }
        Self::on(lens, longest, device).map(Some)
    }

    fn on(lens: &[i64], longest: i64, device: Device) -> Result<Self, TchError> {
        let ends = lens.iter().scan(0, |end, len| {
            *end += *len as i32;
            Some(*end)
        });
        let ends: Vec<i32> = std::iter::once(0).chain(ends).collect();
        Ok(Self { ends: upload(&ends, device)?, longest })
    }

    /// Clones the handle.
    #[must_use]
    pub fn shallow_clone(&self) -> Self {
        Self { ends: self.ends.shallow_clone(), longest: self.longest }
    }

    /// Computes causal attention within the texts: `q` `[N, H, D]`, `k` and `v` `[N, K, D]` to `[N, H·D]`, see
    /// [`flash_attention`].
    ///
    /// # Errors
    /// libtorch's, when shapes do not fit.
    pub fn attend(&self, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor, TchError> {
        let ys = flash_attention(q, k, v, &self.ends, self.longest).map_err(as_torch)?;
        ys.f_reshape([q.size()[0], -1])
    }
}

/// Checks result and gradients against libtorch's operations in float32, text by text.
fn check(device: Device, kind: Kind) -> Result<(), KernelError> {
    const NAME: &str = "flash_attention";
    const LENS: [i64; 3] = [3, 1, 17];
    let leaf = |heads: i64, seed| -> Result<Tensor, TchError> {
        Ok(numbers(&[21, heads, 16], seed, device)?.f_to_kind(kind)?.set_requires_grad(true))
    };
    let (q, k, v) = (leaf(4, 61)?, leaf(2, 62)?, leaf(2, 63)?);
    let grad = numbers(&[21, 64], 64, device)?.f_to_kind(kind)?;
    let passes = |ys: Tensor, inputs: [&Tensor; 3]| -> Result<Vec<Tensor>, TchError> {
        let loss = ys.f_mul(&grad.f_to_kind(ys.kind())?)?.f_sum(Kind::Float)?;
        let grads = Tensor::f_run_backward(&[loss], &inputs, false, false)?;
        Ok(std::iter::once(ys.f_detach()?).chain(grads).collect())
    };
    let ours = passes(TextEnds::on(&LENS, 17, device)?.attend(&q, &k, &v)?, [&q, &k, &v])?;

    let float = |xs: &Tensor| -> Result<Tensor, TchError> {
        Ok(xs.f_detach()?.f_to_kind(Kind::Float)?.set_requires_grad(true))
    };
    let [q, k, v] = [float(&q)?, float(&k)?, float(&v)?];
    let mut texts = Vec::new();
    let mut start = 0;
    for len in LENS {
        let heads = |xs: &Tensor| xs.f_narrow(0, start, len)?.f_transpose(0, 1)?.f_unsqueeze(0);
        let none = None::<&Tensor>;
        let ys = Tensor::f_scaled_dot_product_attention(
            &heads(&q)?,
            &heads(&k)?,
            &heads(&v)?,
            none,
            0.0,
            true,
            None,
            true,
        )?; // [1, H, T, D]
        texts.push(ys.f_squeeze_dim(0)?.f_transpose(0, 1)?.f_reshape([len, 64])?);
        start += len;
    }
    let expected = passes(Tensor::f_cat(&texts, 0)?, [&q, &k, &v])?;
    ours.iter().zip(&expected).try_for_each(|(ours, expected)| within(NAME, ours, expected, TOLERANCE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elsewhere_attention_takes_text_by_text() {
        for (device, kind) in [(Device::Cpu, Kind::BFloat16), (Device::Cuda(0), Kind::Float)] {
            assert!(TextEnds::new(&[2, 3], device, kind, 16).unwrap().is_none());
        }
        assert!(TextEnds::new(&[2, 3], Device::Cuda(0), Kind::BFloat16, 20).unwrap().is_none());
    }

    /// In float16 as near as the kind is, over more texts and with other groups of heads than the check has.
    #[test]
    fn on_a_gpu_attention_in_one_call_equals_that_of_the_cpu() {
        if !torch_ext::cuda::is_available() {
            eprintln!("skipped: on_a_gpu_attention_in_one_call_equals_that_of_the_cpu needs a CUDA device");
            return;
        }
        let lens = [5, 40, 1, 33];
        for (kind, tolerance) in [(Kind::Half, 4e-3), (Kind::BFloat16, 3e-2)] {
            let passes = |device: Device| -> Vec<Tensor> {
                let leaf = |heads: i64, seed| {
                    let numbers = numbers(&[79, heads, 24], seed, Device::Cpu).unwrap();
                    numbers.to_kind(kind).to(device).set_requires_grad(true)
                };
                let [q, k, v] = [leaf(6, 71), leaf(2, 72), leaf(2, 73)];
                let ys = match device {
                    Device::Cpu => super::super::causal_attention(&q, &k, &v, &lens).unwrap(),
                    _ => {
                        TextEnds::new(&lens, device, kind, 24).unwrap().map(|e| e.attend(&q, &k, &v).unwrap())
                    }
                };
                let ys = ys.expect("attention in one call");
                (&ys * numbers(&[79, 144], 74, device).unwrap()).sum(Kind::Float).backward();
                let all = [ys.detach(), q.grad(), k.grad(), v.grad()];
                all.map(|xs| xs.to(Device::Cpu).to_kind(Kind::Double)).into()
            };
            for (ours, cpu) in passes(Device::Cuda(0)).iter().zip(&passes(Device::Cpu)) {
                let error = (ours - cpu).abs().max().double_value(&[]);
                assert!(error <= tolerance * cpu.abs().max().double_value(&[]), "{kind:?}: {error}");
            }
        }
    }
}
