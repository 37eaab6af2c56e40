//! Opening Meta's directory.

use std::path::{Path, PathBuf};

use llama_model::{LlamaConfig, TokenIds};
use llama_tokenizer::{LlamaTokenizer, TokenizerParts};
use nn_core::{Dtype, LinearSource, NnError, TorchContext, UnknownSettings};
use tch::{Device, Kind, Tensor};
use weights::{TensorStore, WeightsError};

use super::names::{Cut, meta_name};
use super::params::Params;
use crate::CheckpointError;
use crate::chat_template::template_in_dir;
use crate::generation_config::{eos_ids, generation_eos_ids};
use crate::model_files::ModelFiles;
use crate::row_order::from_pairs;
use crate::text_file::read_small;
use crate::tokenizer_files::{copy_tokenizer_files, tokenizer_files};

/// File that states the shape.
pub(super) const PARAMS: &str = "params.json";

/// Opened directory of `consolidated.NN.pth` and `params.json`.
#[derive(Debug)]
pub(super) struct MetaFiles {
    dir: PathBuf,
    config: LlamaConfig,
    generation_eos_ids: Vec<i64>,
    shards: Vec<TensorStore>,
}

impl MetaFiles {
    /// Opens a directory: reads `params.json` and the shards' headers.
    ///
    /// # Errors
    /// [`CheckpointError`] when the file or a shard is missing or damaged, or they do not fit each other.
    pub(super) fn open(dir: &Path, unknown: UnknownSettings) -> Result<Self, CheckpointError> {
        let path = dir.join(PARAMS);
        let params = Params::read(&path, &read_small(&path)?, unknown)?;
        let shards = shard_paths(dir)?.into_iter().map(|path| TensorStore::open_file(&path));
        let shards = shards.collect::<Result<Vec<_>, _>>()?;
        let config = params.config(None, None);
        let mut files = Self { dir: dir.to_owned(), config, generation_eos_ids: Vec::new(), shards };
        files.generation_eos_ids = generation_eos_ids(files.tokenizer_dir())?;
        let rows =
            |name: &str| Ok::<_, CheckpointError>(files.whole_shape(name)?.first().copied().unwrap_or(0));
        let vocab_size = rows("model.embed_tokens.weight")?;
        let intermediate_size = rows("model.layers.0.mlp.gate_proj.weight")?;
        files.config = params.config(Some(vocab_size), Some(intermediate_size));
        files.config.tie_word_embeddings = files.is_tied()?;
        let kind = files.shards[0].info("norm.weight")?.kind;
        files.config.torch_dtype = Dtype::from_kind(kind).map(|dtype| dtype.to_string());
        files.config.check_heads_divide().map_err(CheckpointError::in_file(&path))?;
        files.config.validate().map_err(CheckpointError::in_file(&path))?;
        Ok(files)
    }

    /// Tells whether the head is the embedding: it is not there, or lies where the embedding lies, as `torch.save` has
    /// it of weights that are one. (In several shards the two are cut in different ways, so a head is taken as its own
    /// there.)
    fn is_tied(&self) -> Result<bool, CheckpointError> {
        if self.shards.iter().all(|shard| !shard.contains("output.weight")) {
            return Ok(true);
        }
        let [shard] = self.shards.as_slice() else { return Ok(false) };
        let (embedding, head) = (shard.tensor("tok_embeddings.weight")?, shard.tensor("output.weight")?);
        Ok(embedding.data_ptr() == head.data_ptr() && embedding.size() == head.size())
    }

    /// Returns the shape of the whole tensor that Hugging Face calls `name`.
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

    /// Returns the dimension along which shards of `shape` lie beside each other.
    fn cut_dim(&self, cut: Cut, shape: &[i64]) -> Option<i64> {
        match cut {
            _ if self.shards.len() == 1 => None,
            Cut::Whole => None,
            Cut::Along(dim) => Some(dim),
            Cut::Embedding => Some(i64::from(shape.get(1) != Some(&self.config.hidden_size))),
        }
    }

    /// Reads the whole tensor, in Meta's layout, looking at the file where there is one shard.
    fn whole(&self, name: &str, meta: &str, cut: Cut) -> Result<Tensor, NnError> {
        let failed = |source| NnError::Source { name: name.to_owned(), source: Box::new(source) };
        let first = self.shards[0].tensor(meta).map_err(failed)?;
        let Some(dim) = self.cut_dim(cut, &first.size()) else { return Ok(first) };
        let rest = self.shards[1..].iter().map(|shard| shard.tensor(meta));
        let parts = std::iter::once(Ok(first)).chain(rest).collect::<Result<Vec<_>, _>>().map_err(failed)?;
        Ok(Tensor::f_cat(&parts, dim).op("cat")?)
    }
}

/// Tells whether `path` looks like Meta's directory: it has `params.json` or a first shard.
pub(super) fn is_directory(path: &Path) -> bool {
    path.join(PARAMS).exists() || shard_path(path, 0).exists()
}

impl MetaFiles {
    /// Returns the directory of the tokenizer: with the weights, or above them, as Meta's download has it.
    fn tokenizer_dir(&self) -> &Path {
        let has_one =
            |dir: &Path| dir.join("tokenizer.json").exists() || dir.join("tokenizer.model").exists();
        match self.dir.parent() {
            Some(above) if !has_one(&self.dir) && has_one(above) => above,
            _ => &self.dir,
        }
    }
}

impl ModelFiles for MetaFiles {
    fn config(&self) -> &LlamaConfig {
        &self.config
    }

    fn source(
        &self,
        device: Device,
        kind: Option<Kind>,
    ) -> Result<Box<dyn LinearSource + '_>, CheckpointError> {
        Ok(Box::new(MetaSource { files: self, device, kind }))
    }

    fn files(&self) -> Result<Vec<PathBuf>, CheckpointError> {
        let weights = self.shards.iter().flat_map(|shard| shard.files().to_vec());
        let params = std::iter::once(self.dir.join(PARAMS));
        Ok(params.chain(weights).chain(tokenizer_files(self.tokenizer_dir())).collect())
    }

    fn stored_kind(&self) -> Option<Kind> {
        let stated = self.config.torch_dtype.as_deref().and_then(|name| name.parse::<Dtype>().ok());
        stated.and_then(Dtype::kind).or(Some(Kind::Float))
    }

    fn tensor_shape(&self, name: &str) -> Result<Option<Vec<i64>>, CheckpointError> {
        self.whole_shape(name).map(Some)
    }

    /// Takes the special tokens from the tokenizer: `params.json` leaves them to it.
    fn complete_config(&self) -> Result<LlamaConfig, CheckpointError> {
        let tokenizer = self.tokenizer()?;
        let eos = match eos_ids(self, &tokenizer).as_slice() {
            [id] => TokenIds::One(*id),
            several => TokenIds::Many(several.to_vec()),
        };
        Ok(LlamaConfig {
            bos_token_id: Some(tokenizer.bos_id()),
            eos_token_id: Some(eos),
            ..self.config.clone()
        })
    }

    fn generation_eos_ids(&self) -> &[i64] {
        &self.generation_eos_ids
    }

    fn tokenizer(&self) -> Result<LlamaTokenizer, CheckpointError> {
        Ok(LlamaTokenizer::from_dir(self.tokenizer_dir())?)
    }

    fn tokenizer_parts(&self) -> Result<TokenizerParts, CheckpointError> {
        Ok(TokenizerParts::from_dir(self.tokenizer_dir())?)
    }

    fn chat_template(&self) -> Result<Option<String>, CheckpointError> {
        template_in_dir(self.tokenizer_dir())
    }

    fn copy_tokenizer(&self, target: &Path) -> Result<(), CheckpointError> {
        copy_tokenizer_files(self.tokenizer_dir(), target)
    }
}

/// Source of the tensors of [`MetaFiles`] under Hugging Face's names. Whatever lies in one shard, in the kind asked
/// for, and is no query or key projection (these have their rows in another order) is not copied.
#[derive(Debug)]
struct MetaSource<'a> {
    files: &'a MetaFiles,
    device: Device,
    kind: Option<Kind>,
}

impl LinearSource for MetaSource<'_> {
    fn tensor(&self, name: &str, shape: &[i64]) -> Result<Tensor, NnError> {
        let failed =
            |source: CheckpointError| NnError::Source { name: name.to_owned(), source: Box::new(source) };
        let (meta, cut) = meta_name(name).unwrap_or_else(|| (name.to_owned(), Cut::Whole));
        let actual = self.files.whole_shape(name).map_err(failed)?;
        if actual != shape {
            return Err(NnError::Shape {
                name: format!("{name} ({meta})"),
                actual,
                expected: shape.to_vec(),
            });
        }
        let whole = self.files.whole(name, &meta, cut)?;
        let whole = from_pairs(name, whole, self.files.config.head_dim)?;
        let kind = self.kind.unwrap_or(whole.kind());
        Ok(whole.f_to_device_(self.device, kind, false, false).op("to")?)
    }
}

/// Returns the path of shard `index` in `dir`.
pub(super) fn shard_path(dir: &Path, index: usize) -> PathBuf {
    dir.join(format!("consolidated.{index:02}.pth"))
}

/// Lists the shards, in order: as many as the highest number says.
fn shard_paths(dir: &Path) -> Result<Vec<PathBuf>, CheckpointError> {
    let entries =
        std::fs::read_dir(dir).map_err(|source| CheckpointError::Read { path: dir.to_owned(), source })?;
    let numbers = entries.flatten().filter_map(|entry| {
        let name = entry.file_name();
        name.to_str()?.strip_prefix("consolidated.")?.strip_suffix(".pth")?.parse::<usize>().ok()
    });
    let count = numbers.max().map_or(1, |last| last.saturating_add(1));
    let paths: Vec<PathBuf> = (0..count.min(1000)).map(|index| shard_path(dir, index)).collect();
    match paths.iter().find(|path| !path.exists()) {
        None => Ok(paths),
        Some(path) => Err(CheckpointError::ShardMissing { path: path.clone(), count }),
    }
}
