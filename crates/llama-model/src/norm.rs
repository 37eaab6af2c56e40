//! Root-mean-square norm.

use nn_core::{LinearSource, ModulePath, NnError, SharedLeaves, TorchContext};
use tch::Tensor;

use crate::{LlamaConfig, Width};

/// `RMSNorm`, see [`kernels::rms_norm`].
#[derive(Debug)]
pub(crate) struct RmsNorm {
    pub(crate) weight: Tensor,
    eps: f64,
}

impl RmsNorm {
    /// Loads the norm at `path`, over `width` features.
    pub(crate) fn load(
        path: &ModulePath,
        width: Width,
        config: &LlamaConfig,
        source: &dyn LinearSource,
    ) -> Result<Self, NnError> {
        let weight = source.tensor(&format!("{path}.weight"), &[config.width(width)])?;
        Ok(Self { weight, eps: config.rms_norm_eps })
    }

    /// Makes another handle on the weight, for another thread.
    pub(crate) fn share(&self, leaves: &SharedLeaves) -> Self {
        Self { weight: leaves.share(&self.weight), eps: self.eps }
    }

    pub(crate) fn weight(&self) -> &Tensor {
        &self.weight
    }

    /// Maps `[.., C]` to `[.., C]`, in the kind of `xs`.
    pub(crate) fn forward(&self, xs: &Tensor) -> Result<Tensor, NnError> {
        if self.weight.kind() == xs.kind() {
            return Ok(kernels::rms_norm(xs, &self.weight, self.eps).op("rms_norm")?);
        }
        // One that trains is in float32.
        let weight = self.weight.f_to_kind(xs.kind()).op("to_kind")?;
        Ok(kernels::rms_norm(xs, &weight, self.eps).op("rms_norm")?)
    }
}
