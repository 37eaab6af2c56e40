//! Opening a GGUF file.

use std::path::{Path, PathBuf};

use llama_model::{LlamaConfig, TensorName};
use llama_tokenizer::{LlamaTokenizer, TokenizerParts};
use nn_core::{LinearSource, NnError, TorchContext};
use tch::{Device, Kind, Tensor};
use weights::GgufFile;

use super::{config, tokenizer};
use crate::CheckpointError;
use crate::model_files::ModelFiles;
use crate::row_order::from_pairs;
use crate::tokenizer_files::write_tokenizer_files;

/// Opened GGUF file of a model.
#[derive(Debug)]
pub(super) struct GgufFiles {
    file: GgufFile,
    config: LlamaConfig,
}

impl GgufFiles {
    /// Opens a file and reads its header.
    pub(super) fn open(path: &Path) -> Result<Self, CheckpointError> {
        let file = GgufFile::open(path)?;
        let config = config::read(&file)?;
        Ok(Self { file, config })
    }

    /// Returns the file itself.
    pub(super) fn file(&self) -> &GgufFile {
        &self.file
    }
}

impl ModelFiles for GgufFiles {
    fn config(&self) -> &LlamaConfig {
        &self.config
    }

    /// Writes blocks of few bits out, in single precision where `kind` is `None`.
    fn source(
        &self,
        device: Device,
        kind: Option<Kind>,
    ) -> Result<Box<dyn LinearSource + '_>, CheckpointError> {
        Ok(Box::new(GgufSource { files: self, device, kind }))
    }

    fn files(&self) -> Result<Vec<PathBuf>, CheckpointError> {
        Ok(self.file.files().map(Path::to_owned).collect())
    }

    fn stored_kind(&self) -> Option<Kind> {
        self.file.info("blk.0.attn_q.weight").ok()?.ggml_type.kind()
    }

    fn tensor_shape(&self, name: &str) -> Result<Option<Vec<i64>>, CheckpointError> {
        let in_file = TensorName::parse(name).map_or_else(|| name.to_owned(), |tensor| tensor.gguf());
        Ok(Some(self.file.info(&in_file)?.shape))
    }

    fn tokenizer(&self) -> Result<LlamaTokenizer, CheckpointError> {
        Ok(LlamaTokenizer::from_parts(&self.tokenizer_parts()?)?)
    }

    fn has_gguf_tokenizer(&self) -> bool {
        true
    }

    fn tokenizer_parts(&self) -> Result<TokenizerParts, CheckpointError> {
        tokenizer::read(&self.file)
    }

    fn chat_template(&self) -> Result<Option<String>, CheckpointError> {
        Ok(tokenizer::chat_template(&self.file))
    }

    fn copy_tokenizer(&self, target: &Path) -> Result<(), CheckpointError> {
        write_tokenizer_files(&self.tokenizer()?, self.chat_template()?.as_deref(), target)
    }
}

/// Source of the tensors of [`GgufFiles`] under Hugging Face's names, one at a time. Plain numbers in the kind asked for
/// are not copied, but for LLaMA's query and key projections: llama.cpp's converter has put their rows in another order, which is
/// undone.
#[derive(Debug)]
struct GgufSource<'a> {
    files: &'a GgufFiles,
    device: Device,
    kind: Option<Kind>,
}

impl LinearSource for GgufSource<'_> {
    fn tensor(&self, name: &str, shape: &[i64]) -> Result<Tensor, NnError> {
        let failed = |source| NnError::Source { name: name.to_owned(), source: Box::new(source) };
        let GgufFiles { file, config } = self.files;
        // Every name that is asked for has a translation; one that has none is reported as missing.
        let in_file = TensorName::parse(name).map_or_else(|| name.to_owned(), |tensor| tensor.gguf());
        let actual = file.info(&in_file).map_err(failed)?.shape;
        if actual != shape {
            let name = format!("{name} ({in_file})");
            return Err(NnError::Shape { name, actual, expected: shape.to_vec() });
        }
        let tensor = file.tensor(&in_file, self.kind).map_err(failed)?;
        let tensor =
            if config.family.gguf_pairs { from_pairs(name, tensor, config.head_dim)? } else { tensor };
        Ok(tensor.f_to(self.device).op("to")?)
    }
}
