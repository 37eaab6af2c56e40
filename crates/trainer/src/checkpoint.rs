//! Checkpoint directories.
//!
//! `checkpoint-{step}/` holds what [`Trainable::save`] writes, `optimizer.safetensors` and `trainer_state.json`. It
//! appears complete or not at all, and disappears the same way.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process;

use weights::AtomicDir;

use crate::error::IoContext;
use crate::state::TrainerState;
use crate::{AdamW, TrainError, Trainable};

const PREFIX: &str = "checkpoint-";

/// Where the checkpoint after `step` steps lies.
pub(crate) fn checkpoint_path(output_dir: &Path, step: u64) -> PathBuf {
    output_dir.join(format!("{PREFIX}{step}"))
}

/// The newest checkpoint in `output_dir`, if there is one.
///
/// # Errors
/// [`TrainError::Io`] when the directory cannot be read.
pub fn find_last_checkpoint(output_dir: &Path) -> Result<Option<PathBuf>, TrainError> {
    Ok(list(output_dir)?.pop().map(|(_, path)| path))
}

/// All checkpoints, oldest first.
pub(crate) fn list(output_dir: &Path) -> Result<Vec<(u64, PathBuf)>, TrainError> {
    let entries = match fs::read_dir(output_dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.at("read", output_dir)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.at("read", output_dir)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let step = name.strip_prefix(PREFIX).and_then(|step| step.parse().ok());
        if let Some(step) = step
            && path.join("trainer_state.json").is_file()
        {
            found.push((step, path));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Writes the checkpoint of `state`.
pub(crate) fn save(
    output_dir: &Path,
    trainable: &dyn Trainable,
    optimizer: &AdamW,
    state: &TrainerState,
) -> Result<PathBuf, TrainError> {
    let target = checkpoint_path(output_dir, state.step);
    let dir = AtomicDir::create(&target)?;
    trainable.save(dir.path()).map_err(|source| TrainError::Save { path: target.clone(), source })?;
    optimizer.save(&dir.path().join("optimizer.safetensors"))?;
    state.save(&dir.path().join("trainer_state.json"))?;
    dir.commit()?;
    Ok(target)
}

/// Puts parameters and optimiser back to where `checkpoint` stands.
pub(crate) fn restore(
    checkpoint: &Path,
    trainable: &dyn Trainable,
    optimizer: &mut AdamW,
) -> Result<(), TrainError> {
    restore_parameters(checkpoint, trainable)?;
    optimizer.load(&checkpoint.join("optimizer.safetensors"))
}

/// Puts the parameters back to where `checkpoint` stands.
pub(crate) fn restore_parameters(checkpoint: &Path, trainable: &dyn Trainable) -> Result<(), TrainError> {
    let failed = |source| TrainError::Restore { path: checkpoint.to_owned(), source };
    trainable.restore(checkpoint).map_err(failed)
}

/// Deletes the oldest checkpoints until `limit` are left, or only the newest and that of step `best` are.
pub(crate) fn prune(output_dir: &Path, limit: usize, best: Option<u64>) -> Result<(), TrainError> {
    let found = list(output_dir)?;
    let excess = found.len().saturating_sub(limit);
    let newest = found.last().map(|(step, _)| *step);
    let deletable = found.iter().filter(|(step, _)| Some(*step) != newest && Some(*step) != best);
    deletable.take(excess).try_for_each(|(step, path)| delete(output_dir, *step, path))
}

/// Deletes the checkpoints after `step`.
pub(crate) fn delete_after(output_dir: &Path, step: u64) -> Result<(), TrainError> {
    let found = list(output_dir)?;
    let later = found.iter().filter(|(of, _)| *of > step);
    later.into_iter().try_for_each(|(step, path)| delete(output_dir, *step, path))
}

/// Deletes one checkpoint. It first takes a name that [`AtomicDir::clean_stale`] clears away, so that a half-deleted one is
/// never taken for a checkpoint and does not stay.
fn delete(output_dir: &Path, step: u64, path: &Path) -> Result<(), TrainError> {
    let nameless = output_dir.join(format!(".{PREFIX}{step}.tmp-{}", process::id()));
    fs::rename(path, &nameless).at("delete", path)?;
    fs::remove_dir_all(&nameless).at("delete", &nameless)
}
