//! Writing Meta's directory.

use std::path::Path;

use llama_model::LlamaConfig;
use merge::{Destination, Placement, Proof, TensorPlan};
use weights::{TensorSpec, TorchWriter};

use super::files::{PARAMS, shard_path};
use super::params::params_json;
use super::parts::parts;
use crate::CheckpointError;
use crate::merged_model::MergedModel;
use crate::row_order::order_in_pairs;
use crate::text_file::write_text;

/// Writes weights, `params.json` and the tokenizer's files into `dir`.
pub(super) fn write(dir: &Path, model: &MergedModel<'_>, shards: usize) -> Result<Proof, CheckpointError> {
    model.copy_tokenizer(dir);
    let params = params_json(model.config(), dir.join("tokenizer.model").exists())?;
    write_text(&dir.join(PARAMS), &params)?;
    let (placements, shared) = placements(model, shards)?;
    let mut specs: Vec<Vec<TensorSpec>> = vec![Vec::new(); shards];
    for placement in &placements {
        for part in &placement.destinations {
            specs[part.file].push(spec(&placement.tensor, part));
        }
    }
    let files = specs
        .into_iter()
        .enumerate()
        .map(|(shard, specs)| TorchWriter::new(&shard_path(dir, shard), specs, &shared)?.stream())
        .collect::<Result<Vec<_>, _>>()?;
    model.fill(&placements, files)
}

/// Further names of tensors that are written.
type Shared = Vec<(String, String)>;

/// Places every tensor, and names what lies there under two names.
fn placements(model: &MergedModel<'_>, shards: usize) -> Result<(Vec<Placement>, Shared), CheckpointError> {
    let config = model.config();
    let mut placements = Vec::with_capacity(model.tensors().len() + 1);
    for tensor in model.tensors() {
        placements.push(placement(config, tensor, &tensor.name, shards)?);
    }
    let mut shared = Shared::new();
    if config.tie_word_embeddings {
        // Meta's code knows no tied head: it takes `output.weight`, and a random one where that is missing.
        if shards == 1 {
            shared.push(("output.weight".to_owned(), "tok_embeddings.weight".to_owned()));
        } else {
            let embedding = model.tensors().iter().find(|tensor| tensor.name == "model.embed_tokens.weight");
            if let Some(tensor) = embedding {
                placements.push(placement(config, tensor, "lm_head.weight", shards)?);
            }
        }
    }
    Ok((placements, shared))
}

/// Places `tensor` under the name that Meta has for Hugging Face's `name`.
fn placement(
    config: &LlamaConfig,
    tensor: &TensorPlan,
    name: &str,
    shards: usize,
) -> Result<Placement, CheckpointError> {
    let parts = parts(config, name, &tensor.merged_shape(), shards)?;
    let destinations = parts.into_iter().map(|part| Destination {
        file: part.shard,
        name: part.name,
        rows: part.rows,
        columns: part.columns,
    });
    Ok(Placement {
        tensor: tensor.clone(),
        row_order: order_in_pairs(name, config.head_dim),
        destinations: destinations.collect(),
    })
}

/// Describes a part to the header of its shard.
fn spec(tensor: &TensorPlan, part: &Destination) -> TensorSpec {
    let mut shape = tensor.merged_shape();
    if let Some(rows) = shape.first_mut() {
        *rows = part.rows.end - part.rows.start;
    }
    if let (Some(columns), Some(len)) = (&part.columns, shape.get_mut(1)) {
        *len = columns.end - columns.start;
    }
    TensorSpec { name: part.name.clone(), kind: tensor.kind, shape }
}
