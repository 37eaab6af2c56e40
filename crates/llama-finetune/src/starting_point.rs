//! The starting point of a run.

use std::path::{Path, PathBuf};

use trainer::find_last_checkpoint;

use crate::{FinetuneError, OutputMode};

/// The starting point of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartingPoint {
    /// A fresh adapter.
    Fresh,
    /// A fresh adapter, since the run to resume has saved no checkpoint.
    NoCheckpoint,
    /// A checkpoint of this run.
    Resume {
        /// Its directory.
        checkpoint: PathBuf,
        /// It lies in the output directory.
        in_place: bool,
    },
    /// The weights of a saved adapter or model, as step 0 of a new run.
    Weights(PathBuf),
}

impl StartingPoint {
    /// Finds the starting point that `from` names: a directory, `latest` for the last checkpoint in `output_dir`, or
    /// nothing. A run that trains every weight (`full`) starts from a model, any other from an adapter.
    ///
    /// # Errors
    /// [`FinetuneError::NoStart`] when it is neither a checkpoint nor saved weights.
    pub fn find(from: Option<&str>, output_dir: &Path, full: bool) -> Result<Self, FinetuneError> {
        let Some(from) = from.filter(|from| !from.is_empty()) else { return Ok(Self::Fresh) };
        if from == "latest" {
            return Ok(match find_last_checkpoint(output_dir)? {
                Some(checkpoint) => Self::Resume { checkpoint, in_place: true },
                None => Self::NoCheckpoint,
            });
        }
        let path = PathBuf::from(from);
        if path.join("trainer_state.json").exists() {
            let folder = std::fs::canonicalize(&path).ok().and_then(|path| path.parent().map(Path::to_owned));
            let in_place = folder.is_some() && folder == std::fs::canonicalize(output_dir).ok();
            return Ok(Self::Resume { checkpoint: path, in_place });
        }
        let (kind, weights) =
            if full { ("a model", "model.safetensors") } else { ("an adapter", "adapter_config.json") };
        if path.join(weights).exists() {
            return Ok(Self::Weights(path));
        }
        Err(FinetuneError::NoStart { from: path, kind, weights })
    }

    /// Returns the checkpoint to resume.
    pub fn checkpoint(&self) -> Option<&Path> {
        match self {
            Self::Resume { checkpoint, .. } => Some(checkpoint),
            Self::Fresh | Self::NoCheckpoint | Self::Weights(_) => None,
        }
    }

    /// Returns the use that the run makes of its output directory.
    pub fn output_mode(&self, overwrite: bool) -> OutputMode {
        match self {
            Self::Resume { in_place: true, .. } => OutputMode::Resume,
            _ if overwrite => OutputMode::Overwrite,
            Self::NoCheckpoint => OutputMode::Restart,
            Self::Fresh | Self::Resume { .. } | Self::Weights(_) => OutputMode::New,
        }
    }
}
