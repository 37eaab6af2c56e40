//! The feed-forward block.

use nn_core::{LinearSlot, LinearSource, Mode, ModulePath, NnError, SharedLeaves, TorchContext};
use tch::Tensor;

use crate::LlamaConfig;
use crate::load::load_linear;
use crate::modules::LINEARS;

/// `down(silu(gate(x)) · up(x))`, see [`kernels::swiglu`].
#[derive(Debug)]
#[expect(clippy::struct_field_names, reason = "the names of the checkpoint")]
pub(crate) struct Mlp {
    pub(crate) gate_proj: LinearSlot,
    pub(crate) up_proj: LinearSlot,
    pub(crate) down_proj: LinearSlot,
}

impl Mlp {
    /// Loads the block of the decoder layer at `layer`.
    pub(crate) fn load(
        layer: &ModulePath,
        config: &LlamaConfig,
        source: &dyn LinearSource,
    ) -> Result<Self, NnError> {
        let [.., gate, up, down] = &LINEARS;
        let slot = |module| load_linear(module, layer, config, source);
        Ok(Self { gate_proj: slot(gate)?, up_proj: slot(up)?, down_proj: slot(down)? })
    }

    /// Makes another handle on the weights, for another thread.
    pub(crate) fn share(&self, leaves: &SharedLeaves) -> Self {
        let [gate_proj, up_proj, down_proj] =
            [&self.gate_proj, &self.up_proj, &self.down_proj].map(|slot| slot.share(leaves));
        Self { gate_proj, up_proj, down_proj }
    }

    /// Maps `[.., C]` to `[.., C]`.
    pub(crate) fn forward(&self, xs: &Tensor, mode: Mode) -> Result<Tensor, NnError> {
        let gate = self.gate_proj.get().forward(xs, mode)?; // [.., F]
        let up = self.up_proj.get().forward(xs, mode)?; // [.., F]
        self.down_proj.get().forward(&kernels::swiglu(&gate, &up).op("swiglu")?, mode)
    }
}
