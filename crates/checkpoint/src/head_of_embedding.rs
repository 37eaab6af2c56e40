//! The head of a tied base as a tensor of its own.

use nn_core::{LinearSource, NnError};
use tch::{Device, Kind, Tensor};

use crate::CheckpointError;
use crate::linears::{EMBEDDING, HEAD};
use crate::model_files::ModelFiles;

/// Tensors of a base. Where embedding and head are tied, the head has a name too, for adapters that make two of them.
pub(crate) struct HeadOfEmbedding<'a> {
    source: Box<dyn LinearSource + 'a>,
    is_tied: bool,
}

impl<'a> HeadOfEmbedding<'a> {
    /// Opens the tensors of `files`, as [`ModelFiles::source`] does.
    pub(crate) fn over(
        files: &'a dyn ModelFiles,
        device: Device,
        kind: Option<Kind>,
    ) -> Result<Self, CheckpointError> {
        Ok(Self { source: files.source(device, kind)?, is_tied: files.config().tie_word_embeddings })
    }
}

impl LinearSource for HeadOfEmbedding<'_> {
    fn tensor(&self, name: &str, shape: &[i64]) -> Result<Tensor, NnError> {
        let is_head = name.strip_suffix(".weight") == Some(HEAD);
        let embedding = format!("{EMBEDDING}.weight");
        self.source.tensor(if self.is_tied && is_head { &embedding } else { name }, shape)
    }
}
