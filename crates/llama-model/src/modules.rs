//! The modules of a decoder with their names in every format: the one table that loading, visiting, shapes and names come
//! from.

use crate::DecoderSpec;

/// A dimension of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// `vocab_size`, `V`.
    Vocabulary,
    /// `hidden_size`, `C`.
    Hidden,
    /// All query heads, `H·D`.
    Queries,
    /// All key or all value heads, `K·D`.
    KeysValues,
    /// `intermediate_size`, `F`.
    FeedForward,
    /// One head, `D`.
    Head,
}

/// A module that has a weight: a linear layer, a norm, the embedding or the head.
#[derive(Debug, Clone, Copy)]
pub struct Module {
    /// Path in Hugging Face checkpoints; of a module in a decoder layer, what follows the layer's number.
    pub path: &'static str,
    /// The same in Meta's checkpoints (`llama/model.py`), which lack some modules.
    pub meta: Option<&'static str>,
    /// The same in GGUF files (llama.cpp `gguf-py/gguf/constants.py`, `TENSOR_NAMES`).
    pub gguf: &'static str,
    /// Rows of the weight, which are the outputs of a linear layer.
    pub rows: Width,
    /// Columns of the weight, which are the inputs of a linear layer; norms have none.
    pub columns: Option<Width>,
    /// True when its output is rotated by position.
    pub rotated: bool,
    pub(crate) is_in: fn(DecoderSpec) -> bool,
    pub(crate) has_bias: fn(DecoderSpec) -> bool,
}

impl Module {
    /// Returns the last part of the path, such as `q_proj`.
    pub fn leaf(&self) -> &'static str {
        self.path.rsplit('.').next().unwrap_or(self.path)
    }

    const fn linear(
        [path, meta, gguf]: [&'static str; 3],
        inputs: Width,
        outputs: Width,
        has_bias: fn(DecoderSpec) -> bool,
    ) -> Self {
        let (meta, is_in): (_, fn(DecoderSpec) -> bool) = (Some(meta), |_| true);
        Self { path, meta, gguf, rows: outputs, columns: Some(inputs), rotated: false, is_in, has_bias }
    }

    const fn norm([path, meta, gguf]: [&'static str; 3]) -> Self {
        Self { columns: None, ..Self::linear([path, meta, gguf], Width::Hidden, Width::Hidden, |_| false) }
    }

    /// Makes a norm over single heads, which Meta's models have none of.
    const fn head_norm(path: &'static str, gguf: &'static str) -> Self {
        Self { meta: None, rows: Width::Head, is_in: |spec| spec.qk_norm, ..Self::norm([path, "", gguf]) }
    }

    const fn rotated(self) -> Self {
        Self { rotated: true, ..self }
    }
}

use Width::{FeedForward, Hidden, KeysValues, Queries, Vocabulary};

/// Token embedding.
pub(crate) const EMBEDDING: Module =
    Module::linear(["model.embed_tokens", "tok_embeddings", "token_embd"], Hidden, Vocabulary, |_| false);
/// Norm before the head.
pub(crate) const FINAL_NORM: Module = Module::norm(["model.norm", "norm", "output_norm"]);
/// Head, which a model with tied embeddings lacks.
pub(crate) const HEAD: Module =
    Module::linear(["lm_head", "output", "output"], Hidden, Vocabulary, |_| false);

/// Linear layers of a decoder layer, attention's four first.
pub(crate) const LINEARS: [Module; 7] = [
    Module::linear(["self_attn.q_proj", "attention.wq", "attn_q"], Hidden, Queries, |spec| spec.qkv_bias)
        .rotated(),
    Module::linear(["self_attn.k_proj", "attention.wk", "attn_k"], Hidden, KeysValues, |spec| spec.qkv_bias)
        .rotated(),
    Module::linear(["self_attn.v_proj", "attention.wv", "attn_v"], Hidden, KeysValues, |spec| spec.qkv_bias),
    Module::linear(["self_attn.o_proj", "attention.wo", "attn_output"], Queries, Hidden, |spec| spec.o_bias),
    Module::linear(["mlp.gate_proj", "feed_forward.w1", "ffn_gate"], Hidden, FeedForward, |spec| {
        spec.mlp_bias
    }),
    Module::linear(["mlp.up_proj", "feed_forward.w3", "ffn_up"], Hidden, FeedForward, |spec| spec.mlp_bias),
    Module::linear(["mlp.down_proj", "feed_forward.w2", "ffn_down"], FeedForward, Hidden, |spec| {
        spec.mlp_bias
    }),
];

/// Norms of a decoder layer.
pub(crate) const NORMS: [Module; 4] = [
    Module::norm(["input_layernorm", "attention_norm", "attn_norm"]),
    Module::norm(["post_attention_layernorm", "ffn_norm", "ffn_norm"]),
    Module::head_norm("self_attn.q_norm", "attn_q_norm"),
    Module::head_norm("self_attn.k_norm", "attn_k_norm"),
];

/// Returns every module of a decoder layer, in the order in which checkpoints are written.
pub(crate) fn layer_modules() -> impl Iterator<Item = &'static Module> {
    LINEARS.iter().chain(&NORMS)
}

/// Tensor of a checkpoint, by its Hugging Face name.
#[derive(Debug, Clone, Copy)]
pub struct TensorName<'a> {
    /// Module it belongs to.
    pub module: &'static Module,
    /// Number of the decoder layer, if it is in one.
    layer: Option<&'a str>,
    /// `weight` or `bias`.
    part: &'a str,
}

impl<'a> TensorName<'a> {
    /// Finds the module of the tensor that Hugging Face calls `name`; `None` when the decoder has no such module.
    pub fn parse(name: &'a str) -> Option<Self> {
        let (layer, rest) = match name.strip_prefix("model.layers.") {
            Some(rest) => rest.split_once('.').map(|(layer, rest)| (Some(layer), rest))?,
            None => (None, name),
        };
        let (path, part) = rest.rsplit_once('.')?;
        let is_it = |module: &&Module| module.path == path;
        let module = match layer {
            Some(_) => layer_modules().find(is_it)?,
            None => [&EMBEDDING, &FINAL_NORM, &HEAD].into_iter().find(is_it)?,
        };
        Some(Self { module, layer, part })
    }

    /// Returns the tensor's name in GGUF files.
    pub fn gguf(&self) -> String {
        let Self { module, layer, part } = self;
        match layer {
            Some(layer) => format!("blk.{layer}.{}.{part}", module.gguf),
            None => format!("{}.{part}", module.gguf),
        }
    }

    /// Returns the tensor's name in Meta's checkpoints; `None` for what those lack, such as biases.
    pub fn meta(&self) -> Option<String> {
        let Self { module, layer, part } = self;
        let path = module.meta?;
        let name = match layer {
            Some(layer) => format!("layers.{layer}.{path}.{part}"),
            None => format!("{path}.{part}"),
        };
        (*part == "weight").then_some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_translated_to_both_other_formats() {
        for (name, gguf, meta) in [
            ("model.embed_tokens.weight", "token_embd.weight", Some("tok_embeddings.weight")),
            ("lm_head.weight", "output.weight", Some("output.weight")),
            (
                "model.layers.11.mlp.up_proj.weight",
                "blk.11.ffn_up.weight",
                Some("layers.11.feed_forward.w3.weight"),
            ),
            ("model.layers.0.self_attn.o_proj.bias", "blk.0.attn_output.bias", None),
            ("model.layers.7.self_attn.k_norm.weight", "blk.7.attn_k_norm.weight", None),
            (
                "model.layers.3.post_attention_layernorm.weight",
                "blk.3.ffn_norm.weight",
                Some("layers.3.ffn_norm.weight"),
            ),
        ] {
            let found = TensorName::parse(name).unwrap();
            assert_eq!((found.gguf().as_str(), found.meta().as_deref()), (gguf, meta));
        }
        for name in
            ["model.layers.0.self_attn.rotary_emb.inv_freq", "model.rotary.weight", "self_attn.q_proj.weight"]
        {
            assert!(TensorName::parse(name).is_none(), "{name}");
        }
    }
}
