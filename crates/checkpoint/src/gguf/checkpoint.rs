//! A GGUF file as the source of a model's layers.

use std::path::Path;

use llama_model::LlamaConfig;
use nn_core::{LinearSource, NnError, TorchContext};
use tch::{Device, Kind, Tensor};
use weights::GgufFile;

use super::{config, names::gguf_name};
use crate::CheckpointError;
use crate::interleaved::to_halves;

/// An opened GGUF file of a LLaMA model.
#[derive(Debug)]
pub struct GgufCheckpoint {
    file: GgufFile,
    config: LlamaConfig,
}

impl GgufCheckpoint {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// [`CheckpointError`] when it is damaged, of another architecture, or lacks what a LLaMA model needs.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        let file = GgufFile::open(path)?;
        let config = config::read(&file)?;
        Ok(Self { file, config })
    }

    /// The file.
    pub fn file(&self) -> &GgufFile {
        &self.file
    }

    /// The shape of the model.
    pub fn config(&self) -> &LlamaConfig {
        &self.config
    }

    /// A source of its tensors under Hugging Face's names and in its layout, on `device` and in `kind`; `None` keeps the
    /// stored one, and writes blocks out in single precision.
    pub fn source(&self, device: Device, kind: Option<Kind>) -> GgufSource<'_> {
        GgufSource { checkpoint: self, device, kind }
    }
}

/// Gives a model the tensors of a [`GgufCheckpoint`], one at a time. Plain numbers in the kind asked for are not copied,
/// but for query and key projections: llama.cpp's converter has put their rows in another order, which is undone.
#[derive(Debug)]
pub struct GgufSource<'a> {
    checkpoint: &'a GgufCheckpoint,
    device: Device,
    kind: Option<Kind>,
}

impl LinearSource for GgufSource<'_> {
    fn tensor(&self, name: &str, shape: &[i64]) -> Result<Tensor, NnError> {
        let failed = |source| NnError::Source { name: name.to_owned(), source: Box::new(source) };
        let GgufCheckpoint { file, config } = self.checkpoint;
        // Every name that is asked for has a translation; one that has none is reported as missing.
        let in_file = gguf_name(name).unwrap_or_else(|| name.to_owned());
        let actual = file.info(&in_file).map_err(failed)?.shape;
        if actual != shape {
            let name = format!("{name} ({in_file})");
            return Err(NnError::Shape { name, actual, expected: shape.to_vec() });
        }
        let tensor = file.tensor(&in_file, self.kind).map_err(failed)?;
        let tensor = if name.contains(".q_proj.") {
            to_halves(&tensor, config.num_attention_heads)?
        } else if name.contains(".k_proj.") {
            to_halves(&tensor, config.num_key_value_heads)?
        } else {
            tensor
        };
        Ok(tensor.f_to(self.device).op("to")?)
    }
}
