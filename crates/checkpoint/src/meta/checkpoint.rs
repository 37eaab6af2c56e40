//! A directory of Meta's as the source of a model's layers.

use std::path::{Path, PathBuf};

use llama_model::LlamaConfig;
use nn_core::{Dtype, LinearSource, NnError, TorchContext};
use tch::{Device, Kind, Tensor};
use weights::{TensorStore, WeightsError};

use super::names::{Cut, meta_name};
use super::params::Params;
use crate::CheckpointError;
use crate::interleaved::to_halves;

/// The file that states the shape.
const PARAMS: &str = "params.json";

/// An opened directory of `consolidated.NN.pth` and `params.json`.
#[derive(Debug)]
pub struct MetaCheckpoint {
    config: LlamaConfig,
    shards: Vec<TensorStore>,
}

impl MetaCheckpoint {
    /// Whether `dir` looks like one: it has `params.json` or a first shard.
    pub fn is_one(dir: &Path) -> bool {
        dir.join(PARAMS).exists() || shard_path(dir, 0).exists()
    }

    /// Opens a directory: reads `params.json` and the shards' headers.
    ///
    /// # Errors
    /// [`CheckpointError`] when the file or a shard is missing or damaged, or they do not fit each other.
    pub fn open(dir: &Path) -> Result<Self, CheckpointError> {
        let path = dir.join(PARAMS);
        let text = std::fs::read_to_string(&path)
            .map_err(|source| CheckpointError::Read { path: path.clone(), source })?;
        let params: Params = serde_json::from_str(&text)
            .map_err(|source| CheckpointError::Params { path: path.clone(), source })?;
        let shards = shard_paths(dir)?.into_iter().map(|path| TensorStore::open_file(&path));
        let shards = shards.collect::<Result<Vec<_>, _>>()?;
        let mut checkpoint = Self { config: params.config(None, None), shards };
        let vocab_size = checkpoint.whole_shape("model.embed_tokens.weight")?[0];
        let intermediate_size = checkpoint.whole_shape("model.layers.0.mlp.gate_proj.weight")?[0];
        checkpoint.config = params.config(Some(vocab_size), Some(intermediate_size));
        checkpoint.config.tie_word_embeddings = checkpoint.is_tied()?;
        let kind = checkpoint.shards[0].info("norm.weight")?.kind;
        checkpoint.config.torch_dtype = Dtype::from_kind(kind).map(|dtype| dtype.to_string());
        checkpoint.config.validate().map_err(CheckpointError::in_file(&path))?;
        Ok(checkpoint)
    }

    /// The shape of the model. Special tokens are left open: they are the tokenizer's.
    pub fn config(&self) -> &LlamaConfig {
        &self.config
    }

    /// Whether the head is the embedding: it is not there, or lies where the embedding lies, as `torch.save` has it of
    /// weights that are one. (In several shards the two are cut in different ways, so a head is taken as its own there.)
    fn is_tied(&self) -> Result<bool, CheckpointError> {
        if self.shards.iter().all(|shard| !shard.contains("output.weight")) {
            return Ok(true);
        }
        let [shard] = self.shards.as_slice() else { return Ok(false) };
        let (embedding, head) = (shard.tensor("tok_embeddings.weight")?, shard.tensor("output.weight")?);
        Ok(embedding.data_ptr() == head.data_ptr() && embedding.size() == head.size())
    }

    /// A source of its tensors under Hugging Face's names and in its layout, on `device` and in `kind`; `None` keeps the
    /// stored one.
    pub fn source(&self, device: Device, kind: Option<Kind>) -> MetaSource<'_> {
        MetaSource { checkpoint: self, device, kind }
    }

    /// The shape of a whole tensor that Hugging Face calls `name`.
    fn whole_shape(&self, name: &str) -> Result<Vec<i64>, CheckpointError> {
        // Every name that is asked for has a translation; one that has none is reported as missing.
        let (meta, cut) = meta_name(name).unwrap_or_else(|| (name.to_owned(), Cut::Whole));
        let shapes = self.shapes(&meta)?;
        let mut whole = shapes[0].clone();
        if let Some(dim) = self.cut_dim(cut, &whole)
            && let Some(len) = whole.get_mut(dim as usize)
        {
            *len = shapes.iter().filter_map(|shape| shape.get(dim as usize)).sum();
        }
        Ok(whole)
    }

    fn shapes(&self, meta: &str) -> Result<Vec<Vec<i64>>, WeightsError> {
        self.shards.iter().map(|shard| Ok(shard.info(meta)?.shape)).collect()
    }

    /// Along which dimension shards of `shape` lie beside each other.
    fn cut_dim(&self, cut: Cut, shape: &[i64]) -> Option<i64> {
        match cut {
            _ if self.shards.len() == 1 => None,
            Cut::Whole => None,
            Cut::Along(dim) => Some(dim),
            Cut::Embedding => Some(i64::from(shape.get(1) != Some(&self.config.hidden_size))),
        }
    }

    /// The whole tensor, in Meta's layout, looking at the file where there is one shard.
    fn whole(&self, name: &str, meta: &str, cut: Cut) -> Result<Tensor, NnError> {
        let failed = |source| NnError::Source { name: name.to_owned(), source: Box::new(source) };
        let first = self.shards[0].tensor(meta).map_err(failed)?;
        let Some(dim) = self.cut_dim(cut, &first.size()) else { return Ok(first) };
        let rest = self.shards[1..].iter().map(|shard| shard.tensor(meta));
        let parts = std::iter::once(Ok(first)).chain(rest).collect::<Result<Vec<_>, _>>().map_err(failed)?;
        Ok(Tensor::f_cat(&parts, dim).op("cat")?)
    }
}

/// Gives a model the tensors of a [`MetaCheckpoint`]. What lies in one shard, in the kind asked for, and is no query or
/// key projection (these have their rows in another order) is not copied.
#[derive(Debug)]
pub struct MetaSource<'a> {
    checkpoint: &'a MetaCheckpoint,
    device: Device,
    kind: Option<Kind>,
}

impl LinearSource for MetaSource<'_> {
    fn tensor(&self, name: &str, shape: &[i64]) -> Result<Tensor, NnError> {
        let failed =
            |source: CheckpointError| NnError::Source { name: name.to_owned(), source: Box::new(source) };
        let (meta, cut) = meta_name(name).unwrap_or_else(|| (name.to_owned(), Cut::Whole));
        let actual = self.checkpoint.whole_shape(name).map_err(failed)?;
        if actual != shape {
            return Err(NnError::Shape {
                name: format!("{name} ({meta})"),
                actual,
                expected: shape.to_vec(),
            });
        }
        let whole = self.checkpoint.whole(name, &meta, cut)?;
        let config = &self.checkpoint.config;
        let whole = if name.ends_with("q_proj.weight") {
            to_halves(&whole, config.num_attention_heads)?
        } else if name.ends_with("k_proj.weight") {
            to_halves(&whole, config.num_key_value_heads)?
        } else {
            whole
        };
        let kind = self.kind.unwrap_or(whole.kind());
        Ok(whole.f_to_device_(self.device, kind, false, false).op("to")?)
    }
}

fn shard_path(dir: &Path, index: usize) -> PathBuf {
    dir.join(format!("consolidated.{index:02}.pth"))
}

/// The shards, in order: as many as the highest number says.
fn shard_paths(dir: &Path) -> Result<Vec<PathBuf>, CheckpointError> {
    let entries =
        std::fs::read_dir(dir).map_err(|source| CheckpointError::Read { path: dir.to_owned(), source })?;
    let numbers = entries.flatten().filter_map(|entry| {
        let name = entry.file_name();
        name.to_str()?.strip_prefix("consolidated.")?.strip_suffix(".pth")?.parse::<usize>().ok()
    });
    let count = numbers.max().map_or(1, |last| last + 1);
    let paths: Vec<PathBuf> = (0..count.min(1000)).map(|index| shard_path(dir, index)).collect();
    match paths.iter().find(|path| !path.exists()) {
        None => Ok(paths),
        Some(path) => Err(CheckpointError::ShardMissing { path: path.clone(), count }),
    }
}
