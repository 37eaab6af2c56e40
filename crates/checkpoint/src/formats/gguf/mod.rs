//! GGUF files, llama.cpp's.

mod config;
mod files;
mod metadata;
mod tokenizer;
mod write;

use std::path::{Path, PathBuf};

use merge::Proof;
use nn_core::UnknownSettings;
use weights::{GgufFile, GgufSplit};

use crate::CheckpointError;
use crate::format::{Format, Supports};
use crate::merged_model::MergedModel;
use crate::model_files::ModelFiles;
use crate::text_file::refuse_lfs_pointer;

/// One GGUF file with weights, configuration and tokenizer.
#[derive(Debug, Clone, Copy)]
pub struct Gguf;

impl Format for Gguf {
    fn name(&self) -> &'static str {
        "gguf"
    }

    fn description(&self) -> &'static str {
        "model.gguf"
    }

    /// Accepts a GGUF file, or a directory with one of them, or with the parts of one, and nothing else to say what it is,
    /// such as [`Format::write`] leaves.
    fn detect(&self, path: &Path) -> Result<Option<PathBuf>, CheckpointError> {
        if !path.is_dir() {
            if is_named_so(path) {
                refuse_lfs_pointer(path)?;
            }
            return Ok(GgufFile::is_one(path).then(|| path.to_owned()));
        }
        let entries =
            path.read_dir().map_err(|source| CheckpointError::Read { path: path.to_owned(), source })?;
        let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        files.retain(|path| is_named_so(path));
        files.sort();
        let split = files.first().and_then(|path| GgufSplit::of(path));
        match files.len() {
            0 | 1 => Ok(files.pop()),
            _ if split.is_some() && files.iter().all(|path| GgufSplit::of(path) == split) => {
                Ok(files.into_iter().next())
            }
            count => Err(CheckpointError::SeveralGguf { dir: path.to_owned(), count }),
        }
    }

    fn open(&self, path: &Path, _: UnknownSettings) -> Result<Box<dyn ModelFiles>, CheckpointError> {
        Ok(Box::new(files::GgufFiles::open(path)?))
    }

    fn supports(&self) -> Supports {
        Supports { q8_0: true, ..Supports::default() }
    }

    fn write(&self, dir: &Path, model: &MergedModel<'_>) -> Result<Proof, CheckpointError> {
        write::write(dir, model)
    }
}

fn is_named_so(path: &Path) -> bool {
    path.is_file() && path.extension().is_some_and(|extension| extension == "gguf")
}
