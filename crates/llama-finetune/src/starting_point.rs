//! The starting point of a run.

use std::path::{Path, PathBuf};

use checkpoint::{CheckpointError, find_adapter};
use serde_json::Value;
use trainer::find_last_checkpoint;
use weights::DIGEST_LIST;

use crate::{FinetuneError, OutputMode};

/// File of a checkpoint's counters, here and in transformers.
const STATE: &str = "trainer_state.json";
/// Bytes of it; that of transformers holds every logged line.
const MAX_STATE_BYTES: u64 = 1 << 30;

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
    Weights {
        /// Their directory.
        dir: PathBuf,
        /// They lie in a checkpoint of transformers' Trainer, whose optimiser is left behind.
        of_python: bool,
    },
}

impl StartingPoint {
    /// Finds the starting point that `from` names: a checkpoint, or a directory with some, of this program or of
    /// transformers' Trainer; a saved adapter, also by its name on the hub; `latest` or `true` for the last checkpoint in
    /// `output_dir`; nothing or `false` for a fresh start. A run that trains every weight (`full`) starts from a model, any
    /// other from an adapter.
    ///
    /// # Errors
    /// [`FinetuneError::NoStart`] when it is neither a checkpoint nor saved weights, [`FinetuneError::ForeignCheckpoint`] for a
    /// checkpoint of Python's without weights, [`FinetuneError::ForeignRun`] where a run of Python's is to go on.
    pub fn find(from: Option<&str>, output_dir: &Path, full: bool) -> Result<Self, FinetuneError> {
        let from = from.unwrap_or_default().trim();
        match from.to_ascii_lowercase().as_str() {
            "" | "false" | "none" => return Ok(Self::Fresh),
            "latest" | "true" => {
                return match find_last_checkpoint(output_dir)? {
                    Some(checkpoint) if is_of_python(&checkpoint) => {
                        Err(FinetuneError::ForeignRun { checkpoint })
                    }
                    Some(checkpoint) => Ok(Self::Resume { checkpoint, in_place: true }),
                    None => Ok(Self::NoCheckpoint),
                };
            }
            _ => {}
        }
        let (kind, weights) =
            if full { ("a model", "model.safetensors") } else { ("an adapter", "adapter_config.json") };
        let path = PathBuf::from(from);
        // One that lacks its state, but has digests, is a damaged checkpoint and no bare adapter.
        if [STATE, DIGEST_LIST].iter().any(|name| path.join(name).exists()) {
            return Self::of_checkpoint(path, output_dir, weights);
        }
        if path.join(weights).exists() {
            return Ok(Self::Weights { dir: path, of_python: false });
        }
        if let Some(last) = find_last_checkpoint(&path)? {
            return Self::of_checkpoint(last, output_dir, weights);
        }
        if path.exists() || full {
            return Err(FinetuneError::NoStart { from: path, kind, weights });
        }
        match find_adapter(from) {
            Ok(dir) => Ok(Self::Weights { dir, of_python: false }),
            Err(CheckpointError::NoAdapter { .. }) => {
                Err(FinetuneError::NoStart { from: path, kind, weights })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Returns what a checkpoint is the start of: the same run, or, where Python wrote it, a new one from its weights.
    fn of_checkpoint(path: PathBuf, output_dir: &Path, weights: &'static str) -> Result<Self, FinetuneError> {
        if !is_of_python(&path) {
            let folder = std::fs::canonicalize(&path).ok().and_then(|path| path.parent().map(Path::to_owned));
            let in_place = folder.is_some() && folder == std::fs::canonicalize(output_dir).ok();
            return Ok(Self::Resume { checkpoint: path, in_place });
        }
        // `qlora.py` of artidoro/qlora puts the adapter into a folder of the checkpoint.
        let inside = [path.clone(), path.join("adapter_model")];
        if let Some(dir) = inside.into_iter().find(|dir| dir.join(weights).exists()) {
            Ok(Self::Weights { dir, of_python: true })
        } else {
            let above = path.parent().filter(|dir| dir.join(weights).exists()).map(Path::to_owned);
            Err(FinetuneError::ForeignCheckpoint { checkpoint: path, weights, above })
        }
    }

    /// Returns the checkpoint to resume.
    pub fn checkpoint(&self) -> Option<&Path> {
        match self {
            Self::Resume { checkpoint, .. } => Some(checkpoint),
            Self::Fresh | Self::NoCheckpoint | Self::Weights { .. } => None,
        }
    }

    /// Returns the use that the run makes of its output directory.
    pub fn output_mode(&self, overwrite: bool) -> OutputMode {
        match self {
            Self::Resume { in_place: true, .. } => OutputMode::Resume,
            _ if overwrite => OutputMode::Overwrite,
            Self::NoCheckpoint => OutputMode::Restart,
            Self::Fresh | Self::Resume { .. } | Self::Weights { .. } => OutputMode::New,
        }
    }
}

/// Tells whether transformers' Trainer wrote a checkpoint (`trainer_callback.py`, `TrainerState`).
fn is_of_python(checkpoint: &Path) -> bool {
    let text = weights::read_text(&checkpoint.join(STATE), MAX_STATE_BYTES).unwrap_or_default();
    let state: Value = serde_json::from_str(&text).unwrap_or_default();
    state.get("global_step").is_some() && state.get("fingerprint").is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a checkpoint with these files.
    fn checkpoint(dir: &Path, state: &str, adapter: &str) {
        std::fs::create_dir_all(dir.join(adapter)).unwrap();
        std::fs::write(dir.join(STATE), state).unwrap();
        std::fs::write(dir.join(adapter).join("adapter_config.json"), "{}").unwrap();
    }

    const PYTHON: &str = r#"{"global_step": 2, "log_history": []}"#;
    const OURS: &str = r#"{"step": 2, "fingerprint": {}}"#;

    #[test]
    fn a_checkpoint_of_python_starts_a_new_run_from_its_adapter() {
        let dir = tempfile::tempdir().unwrap();
        let (run, out) = (dir.path().join("run"), dir.path().join("out"));
        checkpoint(&run.join("checkpoint-2"), PYTHON, "");
        checkpoint(&run.join("checkpoint-10"), PYTHON, "adapter_model");
        let find = |from: &Path| StartingPoint::find(from.to_str(), &out, false);
        let weights = |dir: PathBuf| StartingPoint::Weights { dir, of_python: true };
        assert_eq!(find(&run.join("checkpoint-2")).unwrap(), weights(run.join("checkpoint-2")));
        assert_eq!(find(&run).unwrap(), weights(run.join("checkpoint-10/adapter_model")));

        let bare = run.join("checkpoint-11");
        std::fs::create_dir(&bare).unwrap();
        std::fs::write(bare.join(STATE), PYTHON).unwrap();
        assert!(find(&bare).unwrap_err().to_string().contains("transformers' Trainer"));
        std::fs::write(run.join("adapter_config.json"), "{}").unwrap();
        let error = find(&bare).unwrap_err().to_string();
        assert!(error.contains(&format!("`{}` holds it", run.display())), "{error}");

        let latest = StartingPoint::find(Some("latest"), &run, false).unwrap_err();
        assert!(matches!(latest, FinetuneError::ForeignRun { .. }) && latest.is_usage(), "{latest}");
    }

    #[test]
    fn a_run_goes_on_from_its_checkpoint_however_that_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let find = |from: &str| StartingPoint::find(Some(from), &out, false).unwrap();
        for from in ["", "False", "none"] {
            assert_eq!(find(from), StartingPoint::Fresh, "{from}");
        }
        assert_eq!(find("True"), StartingPoint::NoCheckpoint);
        let last = out.join("checkpoint-4");
        checkpoint(&out.join("checkpoint-2"), OURS, "");
        checkpoint(&last, OURS, "");
        for from in ["latest", "True", "true", out.to_str().unwrap(), last.to_str().unwrap()] {
            assert_eq!(
                find(from),
                StartingPoint::Resume { checkpoint: last.clone(), in_place: true },
                "{from}"
            );
        }
    }
}
