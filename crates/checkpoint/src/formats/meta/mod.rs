//! Meta's directories: `consolidated.NN.pth` and `params.json`.

mod feed_forward;
mod files;
mod names;
mod params;
mod parts;
mod write;

use std::path::{Path, PathBuf};

use merge::Proof;
use nn_core::UnknownSettings;

use crate::CheckpointError;
use crate::format::{Format, Supports};
use crate::merged_model::MergedModel;
use crate::model_files::ModelFiles;

/// Directory with `params.json` and model-parallel torch pickles.
#[derive(Debug, Clone, Copy)]
pub struct Meta;

impl Format for Meta {
    fn name(&self) -> &'static str {
        "state-dict"
    }

    fn description(&self) -> &'static str {
        "consolidated.00.pth and params.json"
    }

    fn detect(&self, path: &Path) -> Result<Option<PathBuf>, CheckpointError> {
        Ok(files::is_directory(path).then(|| path.to_owned()))
    }

    fn open(&self, path: &Path, unknown: UnknownSettings) -> Result<Box<dyn ModelFiles>, CheckpointError> {
        Ok(Box::new(files::MetaFiles::open(path, unknown)?))
    }

    fn supports(&self) -> Supports {
        Supports { shards: true, ..Supports::default() }
    }

    fn write(&self, dir: &Path, model: &MergedModel<'_>) -> Result<Proof, CheckpointError> {
        write::write(dir, model, model.settings().shards)
    }
}
