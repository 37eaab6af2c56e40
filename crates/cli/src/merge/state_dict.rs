//! Writing Meta's directory: `consolidated.NN.pth` and `params.json`.

use std::path::Path;

use ::merge::{Destination, Layout, Placement, Proof, RowOrder, TensorPlan};
use anyhow::Result;
use checkpoint::{Base, has_rotated_rows, meta_params, meta_parts};
use llama_model::LlamaConfig;
use weights::{TensorSpec, TorchWriter};

use super::files::Flow;
use super::hf::write_text;
use super::plan::Plan;

/// Writes weights, `params.json` and the tokenizer's files into `dir`.
pub(crate) fn write(dir: &Path, base: &Base, plan: &Plan, flow: &Flow<'_>, shards: usize) -> Result<Proof> {
    if let Err(missing) = base.copy_tokenizer(dir) {
        tracing::warn!("the tokenizer is not copied: {missing:#}");
    }
    let params = meta_params(&plan.config, dir.join("tokenizer.model").exists())?;
    write_text(&dir.join("params.json"), &params)?;
    let (layout, shared) = layout(plan, shards)?;
    let mut specs: Vec<Vec<TensorSpec>> = vec![Vec::new(); shards];
    for placement in &layout.0 {
        for part in &placement.destinations {
            specs[part.file].push(spec(&placement.tensor, part));
        }
    }
    let files = specs
        .into_iter()
        .enumerate()
        .map(|(shard, specs)| {
            TorchWriter::new(&dir.join(format!("consolidated.{shard:02}.pth")), specs, &shared)?.stream()
        })
        .collect::<Result<Vec<_>, _>>()?;
    flow.fill(&layout, files)
}

/// Further names of tensors that are written.
type Shared = Vec<(String, String)>;

/// Where every tensor goes, and what lies there under two names.
fn layout(plan: &Plan, shards: usize) -> Result<(Layout, Shared)> {
    let mut placements = Vec::with_capacity(plan.tensors.len() + 1);
    for tensor in &plan.tensors {
        placements.push(placement(&plan.config, tensor, &tensor.name, shards)?);
    }
    let mut shared = Shared::new();
    if plan.config.tie_word_embeddings {
        // Meta's code knows no tied head: it takes `output.weight`, and a random one where that is missing.
        if shards == 1 {
            shared.push(("output.weight".to_owned(), "tok_embeddings.weight".to_owned()));
        } else {
            let embedding = plan.tensors.iter().find(|tensor| tensor.name == "model.embed_tokens.weight");
            if let Some(tensor) = embedding {
                placements.push(placement(&plan.config, tensor, "lm_head.weight", shards)?);
            }
        }
    }
    Ok((Layout(placements), shared))
}

/// Where `tensor` goes as what Hugging Face calls `name`.
fn placement(config: &LlamaConfig, tensor: &TensorPlan, name: &str, shards: usize) -> Result<Placement> {
    let order =
        if has_rotated_rows(name) { RowOrder::Pairs { head_dim: config.head_dim } } else { RowOrder::Halves };
    let parts = meta_parts(config, name, &tensor.merged_shape(), shards)?;
    let destinations = parts.into_iter().map(|part| Destination {
        file: part.shard,
        name: part.name,
        rows: part.rows,
        columns: part.columns,
    });
    Ok(Placement { tensor: tensor.clone(), order, destinations: destinations.collect() })
}

/// What a shard's header says of its part.
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
