//! Opening a Hugging Face directory.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use llama_model::LlamaConfig;
use llama_tokenizer::{LlamaTokenizer, TokenizerParts};
use nn_core::{Dtype, LinearSource};
use qlora_nf4::{Quantization, StoredSource, is_quantized, read_quantization_config};
use serde_json::Value;
use tch::{Device, Kind};
use weights::{CheckpointSource, TensorStore};

use crate::CheckpointError;
use crate::chat_template::template_in_dir;
use crate::linears::linear_weights;
use crate::model_files::ModelFiles;
use crate::text_file::read_json;
use crate::tokenizer_files::copy_tokenizer_files;

/// Opened directory. The weights' headers are read when they are first needed.
#[derive(Debug)]
pub(in crate::formats) struct HuggingFaceFiles {
    dir: PathBuf,
    config: LlamaConfig,
    store: OnceLock<TensorStore>,
}

impl HuggingFaceFiles {
    pub(in crate::formats) fn open(dir: &Path) -> Result<Self, CheckpointError> {
        Ok(Self { dir: dir.to_owned(), config: LlamaConfig::from_dir(dir)?, store: OnceLock::new() })
    }

    fn store(&self) -> Result<&TensorStore, CheckpointError> {
        if let Some(store) = self.store.get() {
            return Ok(store);
        }
        let store = TensorStore::open(&self.dir)?;
        Ok(self.store.get_or_init(|| store))
    }
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

    fn stored_kind(&self) -> Option<Kind> {
        let stated = self.config.torch_dtype.as_deref().and_then(|name| name.parse::<Dtype>().ok());
        stated.and_then(Dtype::kind).or(Some(Kind::Float))
    }

    fn tensor_kind(&self, name: &str) -> Result<Option<Kind>, CheckpointError> {
        Ok(Some(self.store()?.info(name)?.kind))
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
        let read: Vec<String> = self.config.tensor_shapes().into_iter().map(|(name, _)| name).collect();
        let quantised = if is_quantized(store) { linear_weights(&self.config) } else { BTreeSet::new() };
        // Codes, scales and states of a quantised weight are named after it.
        let is_part = |name: &str| {
            let path = name.rsplit_once(".weight").map(|(path, _)| path).or(name.strip_suffix(".SCB"));
            path.is_some_and(|path| quantised.contains(&format!("{path}.weight")))
        };
        let is_read = |name: &str| read.iter().any(|known| known == name) || is_part(name);
        Ok(store.names().filter(|name| !is_read(name)).map(str::to_owned).collect())
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
