//! Opening a base model: a directory in Hugging Face's layout.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use llama_model::{Llama, LlamaConfig};
use llama_tokenizer::{LlamaTokenizer, check_special_ids};
use tch::{Device, Kind};
use weights::{CheckpointSource, TensorStore};

use crate::device::auto_kind;
use crate::exit::usage;

/// Files beside the weights that belong to the tokenizer.
const TOKENIZER_FILES: [&str; 5] = [
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "generation_config.json",
];

/// A base model on disk, opened but not loaded.
#[derive(Debug)]
pub struct Base {
    /// Its directory.
    pub dir: PathBuf,
    /// Its shape.
    pub config: LlamaConfig,
}

impl Base {
    /// Opens `base_model`.
    ///
    /// # Errors
    /// When it is no directory of a LLaMA model.
    pub fn open(base_model: &str) -> Result<Self> {
        let dir = PathBuf::from(base_model.trim());
        if !dir.is_dir() {
            return Err(usage(format!(
                "base_model `{base_model}` is not a directory; it has to be a local folder with config.json, the \
                 weights and the tokenizer (this program downloads nothing)"
            )));
        }
        let config = LlamaConfig::from_dir(&dir)?;
        Ok(Self { dir, config })
    }

    /// The tokenizer, after a look at the special tokens that old conversions got wrong.
    ///
    /// # Errors
    /// When the directory has none, or one that cannot be read.
    pub fn tokenizer(&self) -> Result<LlamaTokenizer> {
        let tokenizer = LlamaTokenizer::from_dir(&self.dir)?;
        let (bos, eos) = (self.config.bos_token_id, self.config.eos_ids());
        for problem in check_special_ids(&tokenizer, bos, eos, self.config.pad_token_id) {
            tracing::warn!("{problem}");
        }
        Ok(tokenizer)
    }

    /// The ids that end an answer: the tokenizer's, and the configuration's where they agree with the vocabulary.
    pub fn eos_ids(&self, tokenizer: &LlamaTokenizer) -> Vec<i64> {
        let mut ids = vec![tokenizer.eos_id()];
        // Llama 3's instruct models name several; a decapoda-style `eos_token_id: 1` (which is `<s>`) is not one.
        ids.extend(self.config.eos_ids().iter().copied().filter(|&id| id != tokenizer.bos_id()));
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Loads the weights on `device` in `kind` (chosen by [`auto_kind`] when `None`). What is already in that precision
    /// on the CPU is mapped, not read.
    ///
    /// # Errors
    /// When the weights cannot be read or do not have the shapes of the configuration.
    pub fn load(&self, device: Device, kind: Option<Kind>) -> Result<Llama> {
        let store = TensorStore::open(&self.dir)?;
        let kind = kind.unwrap_or_else(|| auto_kind(device, self.config.num_parameters()));
        let source = CheckpointSource::new(&store, device, Some(kind));
        Llama::load(&self.config, &source).with_context(|| format!("cannot load `{}`", self.dir.display()))
    }

    /// Copies the tokenizer's files to `target`.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn copy_tokenizer(&self, target: &Path) -> Result<()> {
        copy_tokenizer_files(&self.dir, target)
    }
}

/// Copies the tokenizer's files from one directory to another.
///
/// # Errors
/// When the disk refuses.
pub fn copy_tokenizer_files(from: &Path, to: &Path) -> Result<()> {
    for name in TOKENIZER_FILES {
        let file = from.join(name);
        if file.exists() {
            let target = to.join(name);
            std::fs::copy(&file, &target)
                .with_context(|| format!("cannot copy `{}` to `{}`", file.display(), target.display()))?;
        }
    }
    Ok(())
}
