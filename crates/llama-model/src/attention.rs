//! Self-attention with grouped key and value heads.

use nn_core::{LinearSlot, LinearSource, Mode, ModulePath, NnError, SharedLeaves, TorchContext};
use tch::Tensor;

use crate::load::load_linear;
use crate::modules::{LINEARS, NORMS};
use crate::norm::RmsNorm;
use crate::rope::Rotation;
use crate::{LlamaConfig, Module};

/// The four projections; what attends to what is the caller's (`attend`).
#[derive(Debug)]
pub(crate) struct Attention {
    pub(crate) q_proj: LinearSlot,
    pub(crate) k_proj: LinearSlot,
    pub(crate) v_proj: LinearSlot,
    pub(crate) o_proj: LinearSlot,
    pub(crate) q_norm: Option<RmsNorm>,
    pub(crate) k_norm: Option<RmsNorm>,
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
        let [.., q_norm, k_norm] = &NORMS;
        let slot = |module| load_linear(module, layer, config, source);
        let norm = |module: &Module| {
            let is_in = (module.is_in)(config.decoder);
            is_in.then(|| RmsNorm::load(&layer.join(module.path), module.rows, config, source)).transpose()
        };
        Ok(Self {
            q_proj: slot(q)?,
            k_proj: slot(k)?,
            v_proj: slot(v)?,
            o_proj: slot(o)?,
            q_norm: norm(q_norm)?,
            k_norm: norm(k_norm)?,
            head_dim: config.head_dim,
        })
    }

    /// Makes another handle on the weights, for another thread.
    pub(crate) fn share(&self, leaves: &SharedLeaves) -> Self {
        let [q_proj, k_proj, v_proj, o_proj] =
            [&self.q_proj, &self.k_proj, &self.v_proj, &self.o_proj].map(|slot| slot.share(leaves));
        let [q_norm, k_norm] =
            [&self.q_norm, &self.k_norm].map(|norm| norm.as_ref().map(|norm| norm.share(leaves)));
        Self { q_proj, k_proj, v_proj, o_proj, q_norm, k_norm, head_dim: self.head_dim }
    }

    /// Maps `[N, C]` to `[N, C]`. `attend` gets rotated `q` `[N, H, D]`, rotated `k` and `v` `[N, K, D]` and returns
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
        let normed = |slot: &LinearSlot, norm: Option<&RmsNorm>| -> Result<Tensor, NnError> {
            let heads = heads(slot)?;
            norm.map_or(Ok(heads.shallow_clone()), |norm| norm.forward(&heads))
        };
        let q = normed(&self.q_proj, self.q_norm.as_ref())?;
        let k = normed(&self.k_proj, self.k_norm.as_ref())?;
        let [q, k] = rotation.apply(&q, &k)?;
        let v = heads(&self.v_proj)?;
        self.o_proj.get().forward(&attend(&q, &k, &v)?, mode)
    }
}
