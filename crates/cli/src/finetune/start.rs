//! Where a run begins.

use std::path::{Path, PathBuf};

use anyhow::Result;
use trainer::find_last_checkpoint;

use super::config::FinetuneConfig;
use super::output::Claim;
use crate::exit::usage;

/// Where a run begins.
#[derive(Debug)]
pub(crate) enum Start {
    /// With fresh factors.
    Fresh,
    /// With fresh factors, for the run to go on with has saved nothing.
    Again,
    /// At a checkpoint of this run, which lies in the output directory or elsewhere.
    Resume { checkpoint: PathBuf, in_place: bool },
    /// With the weights of a saved adapter or model, as step 0 of a new run.
    Weights(PathBuf),
}

impl Start {
    /// What `resume_from_checkpoint` asks for.
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
                None => Self::Again,
            });
        }
        let path = PathBuf::from(from);
        if path.join("trainer_state.json").exists() {
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

    /// The checkpoint to resume.
    pub(crate) fn checkpoint(&self) -> Option<&Path> {
        match self {
            Self::Resume { checkpoint, .. } => Some(checkpoint),
            Self::Fresh | Self::Again | Self::Weights(_) => None,
        }
    }

    /// How the output directory is taken.
    pub(crate) fn claim(&self, overwrite: bool) -> Claim {
        match self {
            Self::Resume { in_place: true, .. } => Claim::GoOn,
            _ if overwrite => Claim::Overwrite,
            Self::Again => Claim::Again,
            Self::Fresh | Self::Resume { .. } | Self::Weights(_) => Claim::New,
        }
    }

    /// Says what is not as one might expect.
    pub(crate) fn announce(&self, output_dir: &Path) {
        match self {
            Self::Fresh | Self::Resume { .. } => {}
            Self::Again => tracing::info!("no checkpoint in `{}` yet: starting anew", output_dir.display()),
            Self::Weights(from) => tracing::info!(
                "`{}` holds weights without a trainer's state: they are the start of a new run",
                from.display()
            ),
        }
    }
}
