//! Root-mean-square norm.

use nn_core::{LinearSource, NnError, TorchContext};
use tch::{Kind, Tensor};

/// `RMSNorm` (Zhang and Sennrich, 2019, arXiv 1910.07467): `x / sqrt(mean(x²) + eps) · weight`.
#[derive(Debug)]
pub(crate) struct RmsNorm {
    weight: Tensor,
    eps: f64,
}

impl RmsNorm {
    pub(crate) fn load(
        source: &dyn LinearSource,
        name: &str,
        hidden_size: i64,
        eps: f64,
    ) -> Result<Self, NnError> {
        Ok(Self { weight: source.tensor(&format!("{name}.weight"), &[hidden_size])?, eps })
    }

    /// `[.., C]` to `[.., C]`, in the kind of `xs`; the mean square in float32, as transformers' `LlamaRMSNorm` has it.
    pub(crate) fn forward(&self, xs: &Tensor) -> Result<Tensor, NnError> {
        let xs_f32 = xs.f_to_kind(Kind::Float).op("to_kind")?;
        let normed = xs_f32
            .f_rms_norm(self.weight.size(), None::<&Tensor>, Some(self.eps))
            .op("rms_norm")?
            .f_to_kind(xs.kind())
            .op("to_kind")?;
        Ok(normed.f_mul(&self.weight).op("mul")?)
    }
}
