//! Cutting tensors into Meta's shards.

use std::ops::Range;

use llama_model::LlamaConfig;

use super::names::{Cut, meta_name};
use crate::CheckpointError;

/// Part of a tensor in one of Meta's shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// Number of the shard.
    pub(super) shard: usize,
    /// Meta's name of the tensor.
    pub(super) name: String,
    /// Rows that lie there.
    pub(super) rows: Range<i64>,
    /// Columns that lie there; all where absent.
    pub(super) columns: Option<Range<i64>>,
}

/// Cuts the tensor that Hugging Face calls `name`, of `shape`, into `shards` shards as Meta's code has them
/// (`llama/model.py`: `ColumnParallelLinear`, `RowParallelLinear`, `ParallelEmbedding`; from Llama 3 on
/// `VocabParallelEmbedding`).
///
/// # Errors
/// [`CheckpointError::Unwritable`] when Meta has no such tensor, or it cannot be cut so.
pub(super) fn parts(
    config: &LlamaConfig,
    name: &str,
    shape: &[i64],
    shards: usize,
) -> Result<Vec<Part>, CheckpointError> {
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
        Part { shard: shard as usize, name: meta.clone(), rows, columns }
    });
    Ok(parts.collect())
}

/// Tells whether embeddings are cut along the vocabulary, as from Llama 3 on.
fn is_llama_3(config: &LlamaConfig) -> bool {
    config.rope_theta >= 5e5
}

pub(super) fn refuse(field: &str, actual: &str, expected: &str) -> CheckpointError {
    CheckpointError::Unwritable {
        field: field.to_owned(),
        actual: actual.to_owned(),
        expected: expected.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use llama_model::{PRESETS, preset};

    use super::*;

    #[test]
    fn the_shards_of_a_tensor_are_all_of_it_once() {
        for name in PRESETS {
            let config = preset(name).unwrap();
            for shards in [1usize, 2, 8] {
                for (name, shape) in config.tensor_shapes() {
                    let Ok(parts) = super::parts(&config, &name, &shape, shards) else { continue };
                    let area = |part: &Part| {
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
    fn heads_that_do_not_fill_the_shards_are_refused() {
        let name = "model.layers.0.self_attn.k_proj.weight";
        let error = parts(&preset("llama3-8b").unwrap(), name, &[1024, 4096], 16).unwrap_err().to_string();
        assert!(error.contains("`num_key_value_heads` is 8"), "{error}");
    }
}
