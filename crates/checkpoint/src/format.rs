//! Contract of one form that a model's files may have.

use std::fmt;
use std::path::{Path, PathBuf};

use merge::Proof;
use nn_core::UnknownSettings;

use crate::CheckpointError;
use crate::merged_model::MergedModel;
use crate::model_files::ModelFiles;

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

    /// Opens a model and reads its shape; weights are not loaded. `unknown` says what becomes of settings that nobody here knows,
    /// where the form has such.
    ///
    /// # Errors
    /// When the files are missing, damaged, or of another architecture.
    fn open(&self, path: &Path, unknown: UnknownSettings) -> Result<Box<dyn ModelFiles>, CheckpointError>;

    /// Lists the settings of [`crate::WriteSettings`] that [`Format::write`] heeds; the others are rejected.
    fn supports(&self) -> Supports {
        Supports::default()
    }

    /// Writes the merged model into the empty directory `dir`: weights, configuration and tokenizer.
    ///
    /// # Errors
    /// When this form has no place for the model, the proof does not hold, or the disk refuses.
    fn write(&self, dir: &Path, model: &MergedModel<'_>) -> Result<Proof, CheckpointError>;
}

/// Settings of a merge that only some forms heed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Supports {
    /// [`crate::WriteSettings::shards`].
    pub shards: bool,
    /// [`crate::WriteSettings::quantization`].
    pub quantization: bool,
    /// [`crate::Precision::Q8_0`].
    pub q8_0: bool,
}
