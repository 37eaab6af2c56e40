//! The starting point of a run.

use std::path::{Path, PathBuf};

use anyhow::Result;
use trainer::find_last_checkpoint;
use weights::DIGEST_LIST;

use super::output_dir::OutputMode;
use super::settings::FinetuneConfig;
use crate::exit::usage;

/// The starting point of a run.
#[derive(Debug)]
pub(crate) enum Start {
    /// A fresh adapter.
    Fresh,
    /// A fresh adapter, since the run to resume has saved no checkpoint.
    NoCheckpoint,
    /// A checkpoint of this run, in the output directory or elsewhere.
    Resume { checkpoint: PathBuf, in_place: bool },
    /// The weights of a saved adapter or model, as step 0 of a new run.
    Weights(PathBuf),
}

impl Start {
    /// Finds the starting point that `resume_from_checkpoint` names.
    ///
    /// # Errors
    /// When it names neither a checkpoint nor saved weights.
    pub(crate) fn find(config: &FinetuneConfig) -> Result<Self> {
        let Some(from) = config.resume_from_checkpoint.as_deref().filter(|from| !from.is_empty()) else {
            return Ok(Self::Fresh);
        };
        if from == "latest" {
            return Ok(match find_last_checkpoint(&config.output_dir)? {
                Some(checkpoint) => Self::Resume { checkpoint, in_place: true },
                None => Self::NoCheckpoint,
            });
        }
        let path = PathBuf::from(from);
        // One that lacks its state, but has digests, is a damaged checkpoint and no bare adapter.
        if ["trainer_state.json", DIGEST_LIST].iter().any(|name| path.join(name).exists()) {
            let folder = std::fs::canonicalize(&path).ok().and_then(|path| path.parent().map(Path::to_owned));
            let in_place = folder.is_some() && folder == std::fs::canonicalize(&config.output_dir).ok();
            return Ok(Self::Resume { checkpoint: path, in_place });
        }
        let weights = if config.full { "model.safetensors" } else { "adapter_config.json" };
        if path.join(weights).exists() {
            return Ok(Self::Weights(path));
        }
        let kind = if config.full { "a model" } else { "an adapter" };
        Err(usage(format!(
            "resume_from_checkpoint `{from}` is neither a checkpoint (trainer_state.json) nor {kind} ({weights})"
        )))
    }

    /// Returns the checkpoint to resume.
    pub(crate) fn checkpoint(&self) -> Option<&Path> {
        match self {
            Self::Resume { checkpoint, .. } => Some(checkpoint),
            Self::Fresh | Self::NoCheckpoint | Self::Weights(_) => None,
        }
    }

    /// Returns the use that the run makes of its output directory.
    pub(crate) fn output_mode(&self, overwrite: bool) -> OutputMode {
        match self {
            Self::Resume { in_place: true, .. } => OutputMode::Resume,
            _ if overwrite => OutputMode::Overwrite,
            Self::NoCheckpoint => OutputMode::Restart,
            Self::Fresh | Self::Resume { .. } | Self::Weights(_) => OutputMode::New,
        }
    }

    /// Reports a starting point that one might not expect.
    pub(crate) fn announce(&self, output_dir: &Path) {
        match self {
            Self::Fresh | Self::Resume { .. } => {}
            Self::NoCheckpoint => {
                tracing::info!("no checkpoint in `{}` yet: starting anew", output_dir.display());
            }
            Self::Weights(from) => tracing::info!(
                "`{}` holds weights without a trainer's state: they are the start of a new run",
                from.display()
            ),
        }
    }
}
