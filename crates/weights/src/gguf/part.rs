//! One file of a model.

use std::path::{Path, PathBuf};

use super::header::Header;
use super::{GgufError, GgufValue};
use crate::WeightsError;
use crate::lfs::refuse_lfs_pointer;
use crate::mapping::MappedFile;

/// One file.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) path: PathBuf,
    pub(super) map: MappedFile,
    pub(super) header: Header,
}

impl Part {
    /// Maps a file and reads its header.
    pub(super) fn open(path: &Path) -> Result<Self, WeightsError> {
        let (mapped, map) = MappedFile::open(path)?;
        refuse_lfs_pointer(path, map.as_ref())?;
        let header = Header::read(map.as_ref())
            .map_err(|source: GgufError| WeightsError::Gguf { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), map: mapped, header })
    }

    /// Returns a whole number of the metadata.
    pub(super) fn number(&self, key: &str) -> Option<i64> {
        self.header.metadata.get(key).and_then(GgufValue::as_i64)
    }

    pub(super) fn num_tensors(&self) -> usize {
        self.header.tensors.len()
    }
}
