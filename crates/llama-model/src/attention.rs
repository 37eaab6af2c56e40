//! Self-attention with grouped key and value heads.

use nn_core::{LinearSlot, LinearSource, Mode, ModulePath, NnError, TorchContext};
use tch::Tensor;

use crate::LlamaConfig;
use crate::rope::Rotation;

/// The four projections; what attends to what is the caller's (`attend`).
#[derive(Debug)]
pub(crate) struct Attention {
    path: ModulePath,
    q_proj: LinearSlot,
    k_proj: LinearSlot,
    v_proj: LinearSlot,
    o_proj: LinearSlot,
    head_dim: i64,
}

impl Attention {
    pub(crate) fn load(
        path: ModulePath,
        config: &LlamaConfig,
        source: &dyn LinearSource,
    ) -> Result<Self, NnError> {
        let (c, d) = (config.hidden_size, config.head_dim);
        let (q, kv) = (config.num_attention_heads * d, config.num_key_value_heads * d);
        let slot = |name: &str, inputs, outputs| {
            source.linear(&path.join(name), inputs, outputs, config.attention_bias).map(LinearSlot::new)
        };
        Ok(Self {
            q_proj: slot("q_proj", c, q)?,
            k_proj: slot("k_proj", c, kv)?,
            v_proj: slot("v_proj", c, kv)?,
            o_proj: slot("o_proj", q, c)?,
            head_dim: d,
            path,
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

    pub(crate) fn visit_linears_mut(&mut self, visit: &mut dyn FnMut(&ModulePath, &mut LinearSlot)) {
        visit(&self.path.join("q_proj"), &mut self.q_proj);
        visit(&self.path.join("k_proj"), &mut self.k_proj);
        visit(&self.path.join("v_proj"), &mut self.v_proj);
        visit(&self.path.join("o_proj"), &mut self.o_proj);
    }
}
