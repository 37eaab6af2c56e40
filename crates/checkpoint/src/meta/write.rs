//! A shape as `params.json`, and how its tensors are cut into Meta's shards.

use std::ops::Range;

use llama_model::{DecoderSpec, LlamaConfig, RopeScaling};
use serde_json::{Map, Value, json};

use super::names::{Cut, meta_name};
use crate::CheckpointError;

/// A part of a tensor in one of Meta's shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetaPart {
    /// Number of the shard.
    pub shard: usize,
    /// Meta's name of the tensor.
    pub name: String,
    /// Rows that lie there.
    pub rows: Range<i64>,
    /// Columns that lie there; all where absent.
    pub columns: Option<Range<i64>>,
}

/// Where the tensor that Hugging Face calls `name`, of `shape`, lies in `shards` shards of Meta's (`llama/model.py`:
/// `ColumnParallelLinear`, `RowParallelLinear`, `ParallelEmbedding`; from Llama 3 on `VocabParallelEmbedding`).
///
/// # Errors
/// [`CheckpointError::Unwritable`] when Meta has no such tensor, or it cannot be cut so.
pub fn meta_parts(
    config: &LlamaConfig,
    name: &str,
    shape: &[i64],
    shards: usize,
) -> Result<Vec<MetaPart>, CheckpointError> {
    let (meta, cut) = meta_name(name)
        .ok_or_else(|| refuse(name, "a tensor of its own", "Meta's checkpoints have no place for it"))?;
    let cut = match cut {
        _ if shards == 1 => Cut::Whole,
        Cut::Embedding => Cut::Along(i64::from(!is_llama_3(config))),
        other => other,
    };
    let rows = shape.first().copied().unwrap_or(1);
    let count = shards as i64;
    let part = |shard: i64, len: i64| shard * (len / count)..(shard + 1) * (len / count);
    let even = |len: i64, what: &str| {
        if len % count == 0 {
            return Ok(());
        }
        Err(refuse(what, &len.to_string(), &format!("it cannot be cut into {count} shards")))
    };
    match cut {
        Cut::Along(0) if name.contains(".q_proj.") => {
            even(config.num_attention_heads, "num_attention_heads")?;
        }
        Cut::Along(0) if name.contains(".k_proj.") || name.contains(".v_proj.") => {
            even(config.num_key_value_heads, "num_key_value_heads")?;
        }
        Cut::Along(0) => even(rows, name)?,
        Cut::Along(_) => even(shape.last().copied().unwrap_or(1), name)?,
        Cut::Whole | Cut::Embedding => {}
    }
    let parts = (0..count).map(|shard| {
        let (rows, columns) = match cut {
            Cut::Along(0) => (part(shard, rows), None),
            Cut::Along(_) => (0..rows, Some(part(shard, shape.last().copied().unwrap_or(1)))),
            Cut::Whole | Cut::Embedding => (0..rows, None),
        };
        MetaPart { shard: shard as usize, name: meta.clone(), rows, columns }
    });
    Ok(parts.collect())
}

/// From Llama 3 on, embeddings are cut along the vocabulary.
fn is_llama_3(config: &LlamaConfig) -> bool {
    config.rope_theta >= 5e5
}

fn refuse(field: &str, actual: &str, expected: &str) -> CheckpointError {
    CheckpointError::Unwritable {
        field: field.to_owned(),
        actual: actual.to_owned(),
        expected: expected.to_owned(),
    }
}

/// The text of the `params.json` of this shape. With `vocab_of_tokenizer` it says -1, which is to take the tokenizer's
/// size, as Meta's first releases do. What is Meta's default is left out, so that the code of each release reads it.
///
/// # Errors
/// [`CheckpointError::Unwritable`] for a shape that Meta's code cannot have: biases, heads of a width of their own, other ways
/// of stretching rotary frequencies.
pub fn meta_params(config: &LlamaConfig, vocab_of_tokenizer: bool) -> Result<String, CheckpointError> {
    let plain = "Meta's code has no setting for it";
    let DecoderSpec { qkv_bias, o_bias, mlp_bias } = config.decoder;
    for (field, set) in [("attention_bias", qkv_bias || o_bias), ("mlp_bias", mlp_bias)] {
        if set {
            return Err(refuse(field, "true", plain));
        }
    }
    if config.head_dim * config.num_attention_heads != config.hidden_size {
        return Err(refuse("head_dim", &config.head_dim.to_string(), plain));
    }
    let mut params = Map::new();
    let mut put = |key: &str, value: Value| params.insert(key.to_owned(), value);
    put("dim", config.hidden_size.into());
    let (multiple_of, multiplier) = feed_forward(config.hidden_size, config.intermediate_size);
    put("multiple_of", multiple_of.into());
    if let Some(multiplier) = multiplier {
        put("ffn_dim_multiplier", multiplier.into());
    }
    put("n_heads", config.num_attention_heads.into());
    if config.num_key_value_heads != config.num_attention_heads {
        put("n_kv_heads", config.num_key_value_heads.into());
    }
    put("n_layers", config.num_hidden_layers.into());
    put("norm_eps", config.rms_norm_eps.into());
    put("vocab_size", if vocab_of_tokenizer { json!(-1) } else { config.vocab_size.into() });
    #[expect(clippy::float_cmp, reason = "a constant, not a result")]
    if config.rope_theta != 10_000.0 {
        put("rope_theta", config.rope_theta.into());
    }
    match config.rope_scaling {
        None => {}
        Some(RopeScaling::Llama3 {
            factor,
            low_freq_factor: 1.0,
            high_freq_factor,
            original_max_position_embeddings: 8192,
        }) => {
            put("use_scaled_rope", true.into());
            #[expect(clippy::float_cmp, reason = "constants, not results")]
            if factor != 8.0 {
                put("rope_scaling_factor", factor.into());
            }
            #[expect(clippy::float_cmp, reason = "constants, not results")]
            if high_freq_factor != 4.0 {
                put("rope_high_freq_factor", high_freq_factor.into());
            }
        }
        Some(ref other) => return Err(refuse("rope_scaling", &format!("{other:?}"), plain)),
    }
    Ok(serde_json::to_string_pretty(&params).unwrap_or_default())
}

/// `multiple_of` and `ffn_dim_multiplier` that give `width` by Meta's formula: those of the releases where they fit,
/// else any that do.
fn feed_forward(dim: i64, width: i64) -> (i64, Option<f64>) {
    let releases = [(256, None), (1024, Some(1.3)), (4096, Some(1.3)), (1024, Some(1.4)), (256, Some(1.5))];
    let powers = (0..13).rev().map(|power| (1 << power, None));
    let found = releases
        .into_iter()
        .chain(powers)
        .find(|&(multiple_of, multiplier)| feed_forward_width(dim, multiple_of, multiplier) == width);
    found.unwrap_or_else(|| {
        let multiple_of = 1 << width.trailing_zeros().min(12);
        // What is cut off to a whole number and then rounded up to this width lies from `width - multiple_of + 1` to
        // `width + 1`: the middle of that.
        let middle = (width + 1) as f64 - multiple_of as f64 / 2.0;
        (multiple_of, Some(middle / (dim * 8 / 3) as f64))
    })
}

/// Two thirds of four times the width, times the multiplier, rounded up to whole multiples (`llama/model.py`,
/// `FeedForward`).
pub(super) fn feed_forward_width(dim: i64, multiple_of: i64, multiplier: Option<f64>) -> i64 {
    let multiple_of = multiple_of.max(1);
    let width = dim.saturating_mul(8) / 3;
    let width = multiplier.map_or(width, |multiplier| (multiplier * width as f64) as i64);
    (width.saturating_add(multiple_of - 1) / multiple_of).saturating_mul(multiple_of)
}

#[cfg(test)]
mod tests {
    use super::*;
    use llama_model::{PRESETS, preset};

    #[test]
    fn every_width_is_that_of_some_params() {
        for dim in [64, 288, 2048, 4096, 8192] {
            for width in (1..4 * dim).step_by(if dim > 300 { 37 } else { 1 }) {
                let (multiple_of, multiplier) = feed_forward(dim, width);
                assert_eq!(feed_forward_width(dim, multiple_of, multiplier), width, "{dim}");
            }
        }
    }

    #[test]
    fn the_shapes_of_the_releases_are_written_as_the_releases_write_them() {
        let value = |name: &str| -> Value {
            serde_json::from_str(&meta_params(&preset(name).unwrap(), true).unwrap()).unwrap()
        };
        assert_eq!(
            value("7b"),
            json!({"dim": 4096, "multiple_of": 256, "n_heads": 32, "n_layers": 32, "norm_eps": 1e-6, "vocab_size": -1})
        );
        assert_eq!(
            value("llama3-8b"),
            json!({"dim": 4096, "multiple_of": 1024, "ffn_dim_multiplier": 1.3, "n_heads": 32, "n_kv_heads": 8,
                   "n_layers": 32, "norm_eps": 1e-5, "vocab_size": -1, "rope_theta": 500_000.0})
        );
    }

    #[test]
    fn the_shards_of_a_tensor_are_all_of_it_once() {
        for name in PRESETS {
            let config = preset(name).unwrap();
            for shards in [1usize, 2, 8] {
                for (name, shape) in config.tensor_shapes() {
                    let Ok(parts) = meta_parts(&config, &name, &shape, shards) else { continue };
                    let area = |part: &MetaPart| {
                        let columns = part.columns.clone().unwrap_or(0..shape.get(1).copied().unwrap_or(1));
                        (part.rows.end - part.rows.start) * (columns.end - columns.start)
                    };
                    let copies = if name.ends_with("norm.weight") { shards as i64 } else { 1 };
                    assert_eq!(parts.len(), shards);
                    assert_eq!(parts.iter().map(area).sum::<i64>(), copies * shape.iter().product::<i64>());
                }
            }
        }
    }

    #[test]
    fn what_meta_cannot_state_is_refused_by_field() {
        let config = preset("7b").unwrap();
        for (config, field) in [
            (
                LlamaConfig { decoder: DecoderSpec { qkv_bias: true, ..config.decoder }, ..config.clone() },
                "attention_bias",
            ),
            (LlamaConfig { head_dim: 64, ..config.clone() }, "head_dim"),
            (
                LlamaConfig { rope_scaling: Some(RopeScaling::Linear { factor: 2.0 }), ..config.clone() },
                "rope_scaling",
            ),
        ] {
            let error = meta_params(&config, true).unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
        let name = "model.layers.0.self_attn.k_proj.weight";
        let error =
            meta_parts(&preset("llama3-8b").unwrap(), name, &[1024, 4096], 16).unwrap_err().to_string();
        assert!(error.contains("`num_key_value_heads` is 8"), "{error}");
    }
}
