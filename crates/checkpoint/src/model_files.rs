//! Contract of the opened files of a model.

use std::any::Any;
use std::fmt;
use std::path::{Path, PathBuf};

use llama_model::LlamaConfig;
use llama_tokenizer::{LlamaTokenizer, TokenizerParts};
use nn_core::LinearSource;
use qlora_nf4::Quantization;
use tch::{Device, Kind};

use crate::CheckpointError;

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

    /// Lists every file that the model is read from: weights, configuration, tokenizer.
    ///
    /// # Errors
    /// When the headers of the weights cannot be read.
    fn files(&self) -> Result<Vec<PathBuf>, CheckpointError>;

    /// Returns the precision in which the weights need not be copied; `None` where they are in blocks of few bits.
    fn stored_kind(&self) -> Option<Kind>;

    /// Returns the stored precision of one tensor, as [`ModelFiles::stored_kind`] where all have the same.
    ///
    /// # Errors
    /// When there is no such tensor.
    fn tensor_kind(&self, _name: &str) -> Result<Option<Kind>, CheckpointError> {
        Ok(self.stored_kind())
    }

    /// Returns the stored shape of one tensor, from the headers; `None` where that is another than the model's, as a quantised
    /// weight's is.
    ///
    /// # Errors
    /// When there is no such tensor.
    fn tensor_shape(&self, _name: &str) -> Result<Option<Vec<i64>>, CheckpointError> {
        Ok(None)
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

    /// Returns the ids that end an answer besides the configuration's and the tokenizer's: those of
    /// `generation_config.json`.
    fn generation_eos_ids(&self) -> &[i64] {
        &[]
    }

    /// Reads the tokenizer.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    fn tokenizer(&self) -> Result<LlamaTokenizer, CheckpointError>;

    /// Tells whether the tokenizer is kept as GGUF files keep it, which have one way of putting spaces before texts
    /// ([`LlamaTokenizer::with_gguf_prefix`]).
    fn has_gguf_tokenizer(&self) -> bool {
        false
    }

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
