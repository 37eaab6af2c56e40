//! A tokenizer that lies beside an adapter, as programs over peft save it: with tokens that were added for the adapter.

use std::path::{Path, PathBuf};

use llama_model::LlamaConfig;
use llama_tokenizer::{LlamaTokenizer, TokenizerParts};
use nn_core::LinearSource;
use qlora_nf4::Quantization;
use serde_json::Value;
use tch::{Device, Kind};

use crate::CheckpointError;
use crate::base::Base;
use crate::chat_template::template_in_dir;
use crate::generation_config::GENERATION_CONFIG;
use crate::model_files::ModelFiles;
use crate::tokenizer_files::{copy_file, copy_tokenizer_files, tokenizer_files};

/// Texts that tokenizers of the same vocabulary may part on.
const TEXTS: [&str; 4] =
    ["Hello, world!", " a space before", "two  spaces\n\nlines\t日本 🙂", "[INST] 12345"];

impl Base {
    /// Reads the tokenizer in the directory `dir` of an adapter; `None` where there is none, or one that makes of texts what the
    /// base's does.
    ///
    /// # Errors
    /// When it is damaged.
    pub fn tokenizer_beside(&self, dir: &Path) -> Result<Option<LlamaTokenizer>, CheckpointError> {
        let has = |name: &str| dir.join(name).exists();
        if dir == self.dir || !(has("tokenizer.json") || has("tokenizer.model")) {
            return Ok(None);
        }
        let beside = LlamaTokenizer::from_dir(dir)?;
        match self.files().tokenizer() {
            Ok(own) if is_same(&own, &beside)? => Ok(None),
            _ => Ok(Some(beside)),
        }
    }

    /// Takes the tokenizer in the directory `dir` of an adapter in place of the base's where they differ, and says so.
    ///
    /// # Errors
    /// Those of [`Base::tokenizer_beside`].
    pub fn with_tokenizer_beside(self, dir: &Path) -> Result<Self, CheckpointError> {
        if let Some(beside) = self.tokenizer_beside(dir)? {
            let count = |tokens: Result<LlamaTokenizer, _>| {
                tokens.map_or_else(|_: CheckpointError| "none".to_owned(), |it| it.vocab_size().to_string())
            };
            tracing::warn!(
                "the tokenizer beside adapter `{}` is used: it differs from the base's ({} tokens, there {})",
                dir.display(),
                beside.vocab_size(),
                count(self.files().tokenizer())
            );
            let (tokenizer_dir, base_dir) = (dir.to_owned(), self.dir.clone());
            let files = WithTokenizer { files: self.files, dir: tokenizer_dir.clone(), base_dir };
            return Ok(Self { tokenizer_dir, files: Box::new(files), ..self });
        }
        Ok(self)
    }
}

fn is_same(one: &LlamaTokenizer, other: &LlamaTokenizer) -> Result<bool, CheckpointError> {
    let shape = |it: &LlamaTokenizer| (it.vocab_size(), it.added_tokens(), it.bos_id(), it.eos_id());
    if shape(one) != shape(other) || (0..one.vocab_size() as i64).any(|id| one.token(id) != other.token(id)) {
        return Ok(false);
    }
    for text in TEXTS {
        if one.encode(text, true)? != other.encode(text, true)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Files of a base, but for its tokenizer.
#[derive(Debug)]
struct WithTokenizer {
    files: Box<dyn ModelFiles>,
    dir: PathBuf,
    base_dir: PathBuf,
}

impl ModelFiles for WithTokenizer {
    fn tokenizer(&self) -> Result<LlamaTokenizer, CheckpointError> {
        Ok(LlamaTokenizer::from_dir(&self.dir)?)
    }

    fn tokenizer_parts(&self) -> Result<TokenizerParts, CheckpointError> {
        Ok(TokenizerParts::from_dir(&self.dir)?)
    }

    /// Returns the base's, where the tokenizer brings none.
    fn chat_template(&self) -> Result<Option<String>, CheckpointError> {
        match template_in_dir(&self.dir)? {
            Some(own) => Ok(Some(own)),
            None => self.files.chat_template(),
        }
    }

    fn copy_tokenizer(&self, target: &Path) -> Result<(), CheckpointError> {
        copy_tokenizer_files(&self.dir, target)?;
        if template_in_dir(&self.dir)?.is_none()
            && let Some(template) = self.files.chat_template()?
        {
            crate::text_file::write_text(&target.join("chat_template.jinja"), &template)?;
        }
        copy_file(&self.base_dir.join(GENERATION_CONFIG), &target.join(GENERATION_CONFIG))
    }

    fn files(&self) -> Result<Vec<PathBuf>, CheckpointError> {
        let own = self.files.files()?;
        Ok(own.into_iter().chain(tokenizer_files(&self.dir)).collect())
    }

    fn config(&self) -> &LlamaConfig {
        self.files.config()
    }

    fn source(
        &self,
        device: Device,
        kind: Option<Kind>,
    ) -> Result<Box<dyn LinearSource + '_>, CheckpointError> {
        self.files.source(device, kind)
    }

    fn stored_kind(&self) -> Option<Kind> {
        self.files.stored_kind()
    }

    fn tensor_kind(&self, name: &str) -> Result<Option<Kind>, CheckpointError> {
        self.files.tensor_kind(name)
    }

    fn tensor_shape(&self, name: &str) -> Result<Option<Vec<i64>>, CheckpointError> {
        self.files.tensor_shape(name)
    }

    fn stated_quantization(&self) -> Result<Option<Quantization>, CheckpointError> {
        self.files.stated_quantization()
    }

    fn quantization(&self) -> Result<Option<Quantization>, CheckpointError> {
        self.files.quantization()
    }

    fn unread_tensors(&self) -> Result<Vec<String>, CheckpointError> {
        self.files.unread_tensors()
    }

    fn complete_config(&self) -> Result<LlamaConfig, CheckpointError> {
        self.files.complete_config()
    }

    fn generation_eos_ids(&self) -> &[i64] {
        self.files.generation_eos_ids()
    }

    fn config_json(&self) -> Result<Option<Value>, CheckpointError> {
        self.files.config_json()
    }
}
