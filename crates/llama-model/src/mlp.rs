//! The feed-forward block.

use nn_core::{LinearSlot, LinearSource, Mode, ModulePath, NnError, TorchContext};
use tch::Tensor;

use crate::LlamaConfig;

/// `SwiGLU` (Shazeer, 2020, arXiv 2002.05202): `down(silu(gate(x)) · up(x))`.
#[derive(Debug)]
pub(crate) struct Mlp {
    path: ModulePath,
    gate_proj: LinearSlot,
    up_proj: LinearSlot,
    down_proj: LinearSlot,
}

impl Mlp {
    pub(crate) fn load(
        path: ModulePath,
        config: &LlamaConfig,
        source: &dyn LinearSource,
    ) -> Result<Self, NnError> {
        let (c, f) = (config.hidden_size, config.intermediate_size);
        let slot = |name: &str, inputs, outputs| {
            source.linear(&path.join(name), inputs, outputs, config.mlp_bias).map(LinearSlot::new)
        };
        Ok(Self {
            gate_proj: slot("gate_proj", c, f)?,
            up_proj: slot("up_proj", c, f)?,
            down_proj: slot("down_proj", f, c)?,
            path,
        })
    }

    /// `[.., C]` to `[.., C]`.
    pub(crate) fn forward(&self, xs: &Tensor, mode: Mode) -> Result<Tensor, NnError> {
        let gate = self.gate_proj.get().forward(xs, mode)?.f_silu().op("silu")?; // [.., F]
        let up = self.up_proj.get().forward(xs, mode)?; // [.., F]
        self.down_proj.get().forward(&gate.f_mul(&up).op("mul")?, mode)
    }

    pub(crate) fn visit_linears_mut(&mut self, visit: &mut dyn FnMut(&ModulePath, &mut LinearSlot)) {
        visit(&self.path.join("gate_proj"), &mut self.gate_proj);
        visit(&self.path.join("up_proj"), &mut self.up_proj);
        visit(&self.path.join("down_proj"), &mut self.down_proj);
    }
}
