//! Opening a Hugging Face directory.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use llama_model::LlamaConfig;
use llama_tokenizer::{LlamaTokenizer, TokenizerParts};
use nn_core::{Dtype, LinearSource, NnError, TorchContext, UnknownSettings};
use qlora_nf4::{Quantization, StoredSource, is_quantized, read_quantization_config};
use serde_json::Value;
use tch::{Device, Kind, Tensor};
use weights::{CheckpointSource, TensorStore};

use crate::CheckpointError;
use crate::chat_template::template_in_dir;
use crate::generation_config::generation_eos_ids;
use crate::linears::linear_weights;
use crate::model_files::ModelFiles;
use crate::text_file::read_json;
use crate::tokenizer_files::{copy_tokenizer_files, tokenizer_files};

/// Opened directory. The weights' headers are read when they are first needed.
#[derive(Debug)]
pub(in crate::formats) struct HuggingFaceFiles {
    dir: PathBuf,
    config: LlamaConfig,
    generation_eos_ids: Vec<i64>,
    store: OnceLock<TensorStore>,
}

impl HuggingFaceFiles {
    pub(in crate::formats) fn open(dir: &Path, unknown: UnknownSettings) -> Result<Self, CheckpointError> {
        let path = dir.join("config.json");
        let (config, notes) = LlamaConfig::read_file(&path, unknown)?;
        for note in notes {
            tracing::warn!("`{}`: {note}", path.display());
        }
        let generation_eos_ids = generation_eos_ids(dir)?;
        let mut files = Self { dir: dir.to_owned(), config, generation_eos_ids, store: OnceLock::new() };
        if files.config.tie_word_embeddings && files.has_own_head()? {
            let text = "tie_word_embeddings is true, but the weights hold a head of their own";
            tracing::warn!("`{}`: {text}: `lm_head.weight` is used, as in transformers 5", path.display());
            files.config.tie_word_embeddings = false;
        }
        Ok(files)
    }

    /// Tells whether the weights hold a head other than the embedding; false where they cannot be read, which is told when they
    /// are asked for.
    fn has_own_head(&self) -> Result<bool, CheckpointError> {
        let [embedding, head] = ["model.embed_tokens.weight", "lm_head.weight"];
        let Ok(store) = self.store() else { return Ok(false) };
        if !store.contains(embedding) || !store.contains(head) {
            return Ok(false);
        }
        Ok(!are_equal(&store.tensor(embedding)?, &store.tensor(head)?)?)
    }

    fn store(&self) -> Result<&TensorStore, CheckpointError> {
        if let Some(store) = self.store.get() {
            return Ok(store);
        }
        let store = TensorStore::open(&self.dir)?;
        Ok(self.store.get_or_init(|| store))
    }
}

/// Compares two tensors, in float32 where they are stored in different precisions.
fn are_equal(one: &Tensor, other: &Tensor) -> Result<bool, NnError> {
    if one.size() != other.size() {
        return Ok(false);
    }
    if one.f_kind().op("kind")? == other.f_kind().op("kind")? {
        return Ok(one.f_equal(other).op("equal")?);
    }
    let float = |xs: &Tensor| xs.f_to_kind(Kind::Float).op("to_kind");
    Ok(float(one)?.f_equal(&float(other)?).op("equal")?)
}

impl ModelFiles for HuggingFaceFiles {
    fn config(&self) -> &LlamaConfig {
        &self.config
    }

    fn source(
        &self,
        device: Device,
        kind: Option<Kind>,
    ) -> Result<Box<dyn LinearSource + '_>, CheckpointError> {
        let store = self.store()?;
        Ok(if is_quantized(store) {
            Box::new(StoredSource::new(store, device, kind))
        } else {
            Box::new(CheckpointSource::new(store, device, kind))
        })
    }

    fn files(&self) -> Result<Vec<PathBuf>, CheckpointError> {
        let weights = self.store()?.files().iter().cloned();
        Ok(std::iter::once(self.dir.join("config.json"))
            .chain(weights)
            .chain(tokenizer_files(&self.dir))
            .collect())
    }

    fn stored_kind(&self) -> Option<Kind> {
        let stated = self.config.torch_dtype.as_deref().and_then(|name| name.parse::<Dtype>().ok());
        stated.and_then(Dtype::kind).or(Some(Kind::Float))
    }

    fn tensor_kind(&self, name: &str) -> Result<Option<Kind>, CheckpointError> {
        Ok(Some(self.store()?.info(name)?.kind))
    }

    fn tensor_shape(&self, name: &str) -> Result<Option<Vec<i64>>, CheckpointError> {
        let store = self.store()?;
        let packed = is_quantized(store) && linear_weights(&self.config).contains(name);
        Ok(if packed { None } else { Some(store.info(name)?.shape) })
    }

    fn stated_quantization(&self) -> Result<Option<Quantization>, CheckpointError> {
        let config = read_json(&self.dir.join("config.json"))?;
        let loading = CheckpointError::loading(&self.dir);
        read_quantization_config(&config).map_err(|error| loading(error.into()))
    }

    fn quantization(&self) -> Result<Option<Quantization>, CheckpointError> {
        match (self.stated_quantization()?, is_quantized(self.store()?)) {
            (Some(_), false) => Err(CheckpointError::NotQuantised { config: self.dir.join("config.json") }),
            (None, true) => Err(CheckpointError::QuantisationNotStated { dir: self.dir.clone() }),
            (stated, _) => Ok(stated),
        }
    }

    fn unread_tensors(&self) -> Result<Vec<String>, CheckpointError> {
        let store = self.store()?;
        let read: BTreeSet<String> = self.config.tensor_shapes().into_iter().map(|(name, _)| name).collect();
        let quantised = if is_quantized(store) { linear_weights(&self.config) } else { BTreeSet::new() };
        // Codes, scales and states of a quantised weight are named after it.
        let is_part = |name: &str| {
            let path = name.rsplit_once(".weight").map(|(path, _)| path).or(name.strip_suffix(".SCB"));
            path.is_some_and(|path| quantised.contains(&format!("{path}.weight")))
        };
        let is_read = |name: &str| read.contains(name) || is_part(name);
        Ok(store.names().filter(|name| !is_read(name)).map(str::to_owned).collect())
    }

    fn generation_eos_ids(&self) -> &[i64] {
        &self.generation_eos_ids
    }

    fn tokenizer(&self) -> Result<LlamaTokenizer, CheckpointError> {
        Ok(LlamaTokenizer::from_dir(&self.dir)?)
    }

    fn tokenizer_parts(&self) -> Result<TokenizerParts, CheckpointError> {
        Ok(TokenizerParts::from_dir(&self.dir)?)
    }

    fn chat_template(&self) -> Result<Option<String>, CheckpointError> {
        template_in_dir(&self.dir)
    }

    fn copy_tokenizer(&self, target: &Path) -> Result<(), CheckpointError> {
        copy_tokenizer_files(&self.dir, target)
    }

    fn config_json(&self) -> Result<Option<Value>, CheckpointError> {
        read_json(&self.dir.join("config.json")).map(Some)
    }
}
