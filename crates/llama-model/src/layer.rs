//! One decoder layer.

use nn_core::{LinearSlot, LinearSource, Mode, ModulePath, NnError, SharedLeaves, TorchContext};
use tch::{Device, Tensor};

use crate::attention::Attention;
use crate::mlp::Mlp;
use crate::modules::{LINEARS, NORMS};
use crate::norm::RmsNorm;
use crate::rope::Rotation;
use crate::{LlamaConfig, Module};

/// Attention and feed-forward, each behind a norm and beside a residual.
#[derive(Debug)]
pub(crate) struct DecoderLayer {
    path: ModulePath,
    input_layernorm: RmsNorm,
    self_attn: Attention,
    post_attention_layernorm: RmsNorm,
    mlp: Mlp,
}

impl DecoderLayer {
    pub(crate) fn load(
        path: ModulePath,
        config: &LlamaConfig,
        source: &dyn LinearSource,
    ) -> Result<Self, NnError> {
        let [input, post_attention, ..] = &NORMS;
        let norm = |module: &Module| RmsNorm::load(&path.join(module.path), module.rows, config, source);
        Ok(Self {
            input_layernorm: norm(input)?,
            self_attn: Attention::load(&path, config, source)?,
            post_attention_layernorm: norm(post_attention)?,
            mlp: Mlp::load(&path, config, source)?,
            path,
        })
    }

    /// Returns the device of the weights.
    pub(crate) fn device(&self) -> Device {
        self.input_layernorm.weight().device()
    }

    /// Makes another handle on the weights, for another thread.
    pub(crate) fn share(&self, leaves: &SharedLeaves) -> Self {
        Self {
            path: self.path.clone(),
            input_layernorm: self.input_layernorm.share(leaves),
            self_attn: self.self_attn.share(leaves),
            post_attention_layernorm: self.post_attention_layernorm.share(leaves),
            mlp: self.mlp.share(leaves),
        }
    }

    /// Maps `[N, C]` to `[N, C]`; `attend` as in [`Attention::forward`].
    pub(crate) fn forward(
        &self,
        hidden: &Tensor,
        rotation: &Rotation,
        mode: Mode,
        attend: impl FnOnce(&Tensor, &Tensor, &Tensor) -> Result<Tensor, NnError>,
    ) -> Result<Tensor, NnError> {
        let attended =
            self.self_attn.forward(&self.input_layernorm.forward(hidden)?, rotation, mode, attend)?;
        let hidden = hidden.f_add(&attended).op("add")?; // [N, C]
        let fed = self.mlp.forward(&self.post_attention_layernorm.forward(&hidden)?, mode)?;
        Ok(hidden.f_add(&fed).op("add")?)
    }

    /// Lists the weights of the norms, each with its path.
    pub(crate) fn norms(&self) -> Vec<(ModulePath, &Tensor)> {
        let Attention { q_norm, k_norm, .. } = &self.self_attn;
        let norms = [Some(&self.input_layernorm), Some(&self.post_attention_layernorm)];
        let norms = norms.into_iter().chain([q_norm.as_ref(), k_norm.as_ref()]);
        let named = NORMS.iter().zip(norms);
        named.filter_map(|(module, norm)| Some((self.path.join(module.path), norm?.weight()))).collect()
    }

    pub(crate) fn visit_linears_mut(&mut self, visit: &mut dyn FnMut(&ModulePath, &mut LinearSlot)) {
        let Attention { q_proj, k_proj, v_proj, o_proj, .. } = &mut self.self_attn;
        let Mlp { gate_proj, up_proj, down_proj } = &mut self.mlp;
        let slots = [q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj];
        for (module, slot) in LINEARS.iter().zip(slots) {
            visit(&self.path.join(module.path), slot);
        }
    }

    pub(crate) fn visit_norms_mut(&mut self, visit: &mut dyn FnMut(&ModulePath, &mut Tensor)) {
        let Attention { q_norm, k_norm, .. } = &mut self.self_attn;
        let norms = [
            Some(&mut self.input_layernorm),
            Some(&mut self.post_attention_layernorm),
            q_norm.as_mut(),
            k_norm.as_mut(),
        ];
        for (module, norm) in NORMS.iter().zip(norms) {
            if let Some(norm) = norm {
                visit(&self.path.join(module.path), &mut norm.weight);
            }
        }
    }
}
