//! Checkpoint directories.
//!
//! `checkpoint-{step}/` holds what [`Trainable::save`] writes, `optimizer.safetensors`, `trainer_state.json`, and the digests of
//! all of them. It appears complete or not at all, and disappears the same way.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process;

use nn_core::Trainable;
use weights::{AtomicDir, DIGEST_LIST, WeightsError, check_digests, write_digests};

use crate::TrainError;
use crate::error::IoContext;
use crate::optim::Optimizer;
use crate::state::{STATE_FILE, TrainerState};

const PREFIX: &str = "checkpoint-";

/// Returns the path of the checkpoint after `step` steps.
pub(crate) fn checkpoint_path(output_dir: &Path, step: u64) -> PathBuf {
    output_dir.join(format!("{PREFIX}{step}"))
}

/// Finds the newest checkpoint in `output_dir`.
///
/// # Errors
/// [`TrainError::Io`] when the directory cannot be read.
pub fn find_last_checkpoint(output_dir: &Path) -> Result<Option<PathBuf>, TrainError> {
    Ok(list(output_dir)?.pop().map(|(_, path)| path))
}

/// Lists all checkpoints, oldest first.
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
            && [STATE_FILE, DIGEST_LIST].iter().any(|name| path.join(name).is_file())
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
    optimizer: &Optimizer,
    state: &TrainerState,
) -> Result<PathBuf, TrainError> {
    let target = checkpoint_path(output_dir, state.step);
    let dir = AtomicDir::create(&target)?;
    trainable.save(dir.path()).map_err(|source| TrainError::Save { path: target.clone(), source })?;
    optimizer.save(&dir.path().join("optimizer.safetensors"))?;
    state.save(&dir.path().join(STATE_FILE))?;
    write_digests(dir.path())?;
    dir.commit()?;
    Ok(target)
}

/// Holds every file of a checkpoint against its digest, then reads its counters: nothing is taken from one that is damaged.
pub(crate) fn load_state(checkpoint: &Path) -> Result<TrainerState, TrainError> {
    let listed = check_digests(checkpoint, &[STATE_FILE]).map_err(|source| damaged(checkpoint, source))?;
    let state = TrainerState::load(checkpoint)?;
    if !listed && !state.inputs.is_empty() {
        return Err(damaged(checkpoint, WeightsError::NoDigestList { path: checkpoint.join(DIGEST_LIST) }));
    }
    Ok(state)
}

/// Makes the error of a damaged checkpoint, with the newest one beside it that is intact.
fn damaged(checkpoint: &Path, source: WeightsError) -> TrainError {
    let beside = checkpoint.parent().and_then(|dir| list(dir).ok()).unwrap_or_default();
    let name = checkpoint.file_name();
    let is_whole = |path: &Path| check_digests(path, &[STATE_FILE]).is_ok_and(|listed| listed);
    let intact = |path: &PathBuf| path.file_name() != name && is_whole(path);
    let intact = beside.into_iter().rev().map(|(_, path)| path).find(intact);
    TrainError::DamagedCheckpoint { path: checkpoint.to_owned(), intact, source: Box::new(source) }
}

/// Restores parameters and optimiser from `checkpoint`, which [`load_state`] has found intact.
pub(crate) fn restore(
    checkpoint: &Path,
    trainable: &dyn Trainable,
    optimizer: &mut Optimizer,
) -> Result<(), TrainError> {
    restore_parameters(checkpoint, trainable)?;
    optimizer.load(&checkpoint.join("optimizer.safetensors"))
}

/// Restores the parameters from a checkpoint that nobody has looked at yet.
pub(crate) fn restore_best(checkpoint: &Path, trainable: &dyn Trainable) -> Result<(), TrainError> {
    load_state(checkpoint)?;
    restore_parameters(checkpoint, trainable)
}

/// Restores the parameters from `checkpoint`.
fn restore_parameters(checkpoint: &Path, trainable: &dyn Trainable) -> Result<(), TrainError> {
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

/// Deletes one checkpoint. It is first renamed to something that [`AtomicDir::clean_stale`] removes, so that a half-deleted
/// one is never mistaken for a checkpoint and does not stay.
fn delete(output_dir: &Path, step: u64, path: &Path) -> Result<(), TrainError> {
    let stale = output_dir.join(format!(".{PREFIX}{step}.tmp-{}", process::id()));
    fs::rename(path, &stale).at("delete", path)?;
    fs::remove_dir_all(&stale).at("delete", &stale)
}
