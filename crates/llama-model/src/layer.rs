//! One decoder layer.

use nn_core::{LinearSlot, LinearSource, Mode, ModulePath, NnError, TorchContext};
use tch::Tensor;

use crate::LlamaConfig;
use crate::attention::Attention;
use crate::mlp::Mlp;
use crate::norm::RmsNorm;
use crate::rope::Rotation;

/// Attention and feed-forward, each behind a norm and beside a residual.
#[derive(Debug)]
pub(crate) struct DecoderLayer {
    input_layernorm: RmsNorm,
    self_attn: Attention,
    post_attention_layernorm: RmsNorm,
    mlp: Mlp,
}

impl DecoderLayer {
    pub(crate) fn load(
        path: &ModulePath,
        config: &LlamaConfig,
        source: &dyn LinearSource,
    ) -> Result<Self, NnError> {
        let norm = |name: &str| {
            RmsNorm::load(source, path.join(name).as_str(), config.hidden_size, config.rms_norm_eps)
        };
        Ok(Self {
            input_layernorm: norm("input_layernorm")?,
            self_attn: Attention::load(path.join("self_attn"), config, source)?,
            post_attention_layernorm: norm("post_attention_layernorm")?,
            mlp: Mlp::load(path.join("mlp"), config, source)?,
        })
    }

    /// `[N, C]` to `[N, C]`; `attend` as in [`Attention::forward`].
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

    pub(crate) fn visit_linears_mut(&mut self, visit: &mut dyn FnMut(&ModulePath, &mut LinearSlot)) {
        self.self_attn.visit_linears_mut(visit);
        self.mlp.visit_linears_mut(visit);
    }
}
