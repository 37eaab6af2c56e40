//! Contract of one form that a model's files may have.

use std::any::Any;
use std::fmt;
use std::path::{Path, PathBuf};

use llama_model::LlamaConfig;
use llama_tokenizer::{LlamaTokenizer, TokenizerParts};
use merge::Proof;
use nn_core::LinearSource;
use qlora_nf4::Quantization;
use tch::{Device, Kind};

use crate::{CheckpointError, MergePlan};

/// Form of a model on disk: recognised, opened and written in one place.
pub trait Format: fmt::Debug + Sync {
    /// Returns its name, as flags spell it.
    fn name(&self) -> &'static str;

    /// Describes the files in one line, for a help text.
    fn description(&self) -> &'static str;

    /// Looks for a model of this form at `path`; returns the path that [`Format::open`] takes, which is `path` or a
    /// file in it.
    ///
    /// # Errors
    /// When something of this form is there, but cannot be told from something else of it.
    fn detect(&self, path: &Path) -> Result<Option<PathBuf>, CheckpointError>;

    /// Opens a model and reads its shape; weights are not loaded.
    ///
    /// # Errors
    /// When the files are missing, damaged, or of another architecture.
    fn open(&self, path: &Path) -> Result<Box<dyn ModelFiles>, CheckpointError>;

    /// Lists the settings of [`crate::MergeConfig`] that [`Format::write`] heeds; the others are rejected.
    fn supports(&self) -> Supports {
        Supports::default()
    }

    /// Writes the merged model into the empty directory `dir`: weights, configuration and tokenizer.
    ///
    /// # Errors
    /// When this form has no place for the model, the proof does not hold, or the disk refuses.
    fn write(&self, dir: &Path, plan: &MergePlan<'_>) -> Result<Proof, CheckpointError>;
}

/// Settings of a merge that only some forms heed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Supports {
    /// [`crate::MergeConfig::shards`].
    pub shards: bool,
    /// [`crate::MergeConfig::quantization`].
    pub quantization: bool,
    /// [`crate::Precision::Q8_0`].
    pub q8_0: bool,
}

/// Opened files of a model, whatever their form. Tensors have Hugging Face's names, shapes and order of rows.
pub trait ModelFiles: fmt::Debug + Any {
    /// Returns the shape of the model.
    fn config(&self) -> &LlamaConfig;

    /// Opens a source of its layers on `device`, in `kind`; `None` keeps the stored one. Layers that are quantised
    /// stay so as layers, and come dequantised as tensors.
    ///
    /// # Errors
    /// When the headers of the weights cannot be read.
    fn source(
        &self,
        device: Device,
        kind: Option<Kind>,
    ) -> Result<Box<dyn LinearSource + '_>, CheckpointError>;

    /// Returns the precision in which the weights need not be copied; `None` where they are in blocks of few bits.
    fn stored_kind(&self) -> Option<Kind>;

    /// Returns the stored precision of one tensor, as [`ModelFiles::stored_kind`] where all have the same.
    ///
    /// # Errors
    /// When there is no such tensor.
    fn tensor_kind(&self, _name: &str) -> Result<Option<Kind>, CheckpointError> {
        Ok(self.stored_kind())
    }

    /// Reads from the configuration alone how the linear layers are quantised.
    ///
    /// # Errors
    /// When that is unknown here.
    fn stated_quantization(&self) -> Result<Option<Quantization>, CheckpointError> {
        Ok(None)
    }

    /// Finds out how the linear layers are quantised, from the configuration and the weights.
    ///
    /// # Errors
    /// When that is unknown here, or the two contradict each other.
    fn quantization(&self) -> Result<Option<Quantization>, CheckpointError> {
        Ok(None)
    }

    /// Lists the tensors that the model does not read.
    ///
    /// # Errors
    /// When the headers of the weights cannot be read.
    fn unread_tensors(&self) -> Result<Vec<String>, CheckpointError> {
        Ok(Vec::new())
    }

    /// Returns the shape with the special tokens that a file for other programs has to state.
    ///
    /// # Errors
    /// When only the tokenizer knows them, and it cannot be read.
    fn complete_config(&self) -> Result<LlamaConfig, CheckpointError> {
        Ok(self.config().clone())
    }

    /// Reads the tokenizer.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    fn tokenizer(&self) -> Result<LlamaTokenizer, CheckpointError>;

    /// Reads the tokenizer as lists.
    ///
    /// # Errors
    /// Those of [`ModelFiles::tokenizer`].
    fn tokenizer_parts(&self) -> Result<TokenizerParts, CheckpointError>;

    /// Reads the Jinja text that lays out a chat for this model, if it has one.
    ///
    /// # Errors
    /// When a file that should hold it cannot be read.
    fn chat_template(&self) -> Result<Option<String>, CheckpointError>;

    /// Puts the files of the tokenizer into the directory `target`.
    ///
    /// # Errors
    /// When there is no tokenizer, or the disk refuses.
    fn copy_tokenizer(&self, target: &Path) -> Result<(), CheckpointError>;

    /// Returns the `config.json` the model came with, so that fields unknown here survive; `None` where it has none.
    ///
    /// # Errors
    /// When the file cannot be read.
    fn config_json(&self) -> Result<Option<serde_json::Value>, CheckpointError> {
        Ok(None)
    }
}
