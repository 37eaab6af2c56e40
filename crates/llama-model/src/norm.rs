//! Root-mean-square norm.

use nn_core::{LinearSource, NnError, TorchContext};
use tch::Tensor;

/// `RMSNorm`, see [`torch_ext::rms_norm`].
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

    /// `[.., C]` to `[.., C]`.
    pub(crate) fn forward(&self, xs: &Tensor) -> Result<Tensor, NnError> {
        Ok(torch_ext::rms_norm(xs, &self.weight, self.eps).op("rms_norm")?)
    }
}
