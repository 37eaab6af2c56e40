//! Self-attention with grouped key and value heads.

use nn_core::{LinearSlot, LinearSource, Mode, ModulePath, NnError, TorchContext};
use tch::Tensor;

use crate::LlamaConfig;
use crate::load::load_linear;
use crate::modules::LINEARS;
use crate::rope::Rotation;

/// The four projections; what attends to what is the caller's (`attend`).
#[derive(Debug)]
pub(crate) struct Attention {
    pub(crate) q_proj: LinearSlot,
    pub(crate) k_proj: LinearSlot,
    pub(crate) v_proj: LinearSlot,
    pub(crate) o_proj: LinearSlot,
    head_dim: i64,
}

impl Attention {
    /// Loads the block of the decoder layer at `layer`.
    pub(crate) fn load(
        layer: &ModulePath,
        config: &LlamaConfig,
        source: &dyn LinearSource,
    ) -> Result<Self, NnError> {
        let [q, k, v, o, ..] = &LINEARS;
        let slot = |module| load_linear(module, layer, config, source);
        Ok(Self {
            q_proj: slot(q)?,
            k_proj: slot(k)?,
            v_proj: slot(v)?,
            o_proj: slot(o)?,
            head_dim: config.head_dim,
        })
    }

    /// `[N, C]` to `[N, C]`. `attend` gets rotated `q` `[N, H, D]`, rotated `k` and `v` `[N, K, D]` and returns
    /// `[N, H·D]`.
    pub(crate) fn forward(
        &self,
        xs: &Tensor,
        rotation: &Rotation,
        mode: Mode,
        attend: impl FnOnce(&Tensor, &Tensor, &Tensor) -> Result<Tensor, NnError>,
    ) -> Result<Tensor, NnError> {
        let tokens = xs.size()[0];
        let heads = |slot: &LinearSlot| -> Result<Tensor, NnError> {
            let ys = slot.get().forward(xs, mode)?; // [N, H·D]
            Ok(ys.f_view([tokens, -1, self.head_dim]).op("view")?) // [N, H, D]
        };
        let q = rotation.apply(&heads(&self.q_proj)?)?;
        let k = rotation.apply(&heads(&self.k_proj)?)?;
        let v = heads(&self.v_proj)?;
        self.o_proj.get().forward(&attend(&q, &k, &v)?, mode)
    }
}
