//! The shape of a model, written as the metadata of a GGUF file (llama.cpp `gguf-py/gguf/constants.py`, `convert_hf_to_gguf.py`).

use llama_model::{LlamaConfig, RopeScaling};
use nn_core::{NnError, TorchContext};
use tch::{Kind, Tensor};
use weights::GgufValue;

use super::config::ROPE_FREQS;
use crate::CheckpointError;

/// Makes the metadata that states this shape, without the tokenizer's part.
///
/// # Errors
/// [`CheckpointError::Unwritable`] for a stretching of rotary frequencies that GGUF files have no keys for.
pub(super) fn metadata(config: &LlamaConfig) -> Result<Vec<(String, GgufValue)>, CheckpointError> {
    let count = |value: i64| GgufValue::Unsigned(value.max(0) as u64);
    let number = |value: f64| GgufValue::Float(value as f32);
    let architecture = config.family.gguf_architecture;
    let mut metadata = vec![("general.architecture".to_owned(), GgufValue::Text(architecture.to_owned()))];
    let mut put = |key: &str, value| metadata.push((format!("{architecture}.{key}"), value));
    put("vocab_size", count(config.vocab_size));
    put("context_length", count(config.max_position_embeddings));
    put("embedding_length", count(config.hidden_size));
    put("block_count", count(config.num_hidden_layers as i64));
    put("feed_forward_length", count(config.intermediate_size));
    put("attention.head_count", count(config.num_attention_heads));
    put("attention.head_count_kv", count(config.num_key_value_heads));
    put("attention.key_length", count(config.head_dim));
    put("attention.value_length", count(config.head_dim));
    put("attention.layer_norm_rms_epsilon", number(config.rms_norm_eps));
    put("rope.dimension_count", count(config.head_dim));
    put("rope.freq_base", number(config.rope_theta));
    match config.rope_scaling {
        // Llama 3's is a tensor.
        None | Some(RopeScaling::Llama3 { .. }) => {}
        Some(RopeScaling::Linear { factor }) => {
            put("rope.scaling.type", GgufValue::Text("linear".to_owned()));
            put("rope.scaling.factor", number(factor));
        }
        Some(RopeScaling::Yarn {
            factor,
            original_max_position_embeddings,
            attention_factor,
            beta_fast,
            beta_slow,
            truncate: true,
        }) => {
            put("rope.scaling.type", GgufValue::Text("yarn".to_owned()));
            put("rope.scaling.factor", number(factor));
            put("rope.scaling.original_context_length", count(original_max_position_embeddings));
            // llama.cpp multiplies what follows from the factor by this.
            let inferred = RopeScaling::yarn_attention_factor(factor, 1.0);
            if (attention_factor - inferred).abs() > f64::EPSILON * inferred {
                put("rope.scaling.attn_factor", number(attention_factor / inferred));
            }
            if (beta_fast, beta_slow) != RopeScaling::YARN_BETAS {
                put("rope.scaling.yarn_beta_fast", number(beta_fast));
                put("rope.scaling.yarn_beta_slow", number(beta_slow));
            }
        }
        Some(ref other) => {
            let expected = "GGUF files have no keys for it; hf can hold it".to_owned();
            let (field, actual) = ("rope_scaling".to_owned(), format!("{other:?}"));
            return Err(CheckpointError::Unwritable { field, actual, expected });
        }
    }
    Ok(metadata)
}

/// Makes `rope_freqs.weight`, the divisors of the rotary frequencies, `[D/2]` float32, in which llama.cpp keeps Llama 3's
/// stretching; `None` without it.
pub(super) fn rope_factors(config: &LlamaConfig) -> Result<Option<(String, Tensor)>, NnError> {
    if !matches!(config.rope_scaling, Some(RopeScaling::Llama3 { .. })) {
        return Ok(None);
    }
    let plain = LlamaConfig { rope_scaling: None, ..config.clone() };
    let divisors: Vec<f64> = plain
        .inverse_frequencies()
        .iter()
        .zip(config.inverse_frequencies())
        .map(|(plain, scaled)| plain / scaled)
        .collect();
    let factors = Tensor::f_from_slice(&divisors).op("from_slice")?.f_to_kind(Kind::Float).op("to_kind")?;
    Ok(Some((ROPE_FREQS.to_owned(), factors)))
}
