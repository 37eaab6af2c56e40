//! The directory that a run writes to.

use std::path::{Path, PathBuf};

use weights::{AtomicDir, atomic_write};

use crate::error::{create_dir, io};
use crate::run_inputs::INPUTS;
use crate::{FinetuneError, run_summary};

/// The file of the decided settings.
pub(crate) const RUN_FILE: &str = "run.toml";

/// Files of a run that cost work.
const RESULTS: [&str; 3] = ["adapter_model.safetensors", "adapter_model.bin", "model.safetensors"];

/// The lines of metrics, kept once there is one.
const METRICS: &str = "metrics.jsonl";

/// Other files of a run.
const TRACES: [&str; 8] = [
    RUN_FILE,
    INPUTS,
    run_summary::FILE,
    "adapter_config.json",
    "runs",
    "run.html",
    "loss.svg",
    "samples.jsonl",
];

/// The use that a run makes of its output directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputMode {
    /// A new run in a directory without one.
    New,
    /// A new run in place of one that saved no checkpoint to resume.
    Restart,
    /// A new run in place of whatever run the directory holds.
    Overwrite,
    /// The run that the directory holds continues.
    Resume,
}

impl OutputMode {
    /// Checks that `dir` can be used in this mode; changes nothing.
    ///
    /// # Errors
    /// [`FinetuneError::OutputIsFile`], and [`FinetuneError::OutputHoldsRun`] when nobody said what to do with the run
    /// that it holds.
    pub fn check(self, dir: &Path) -> Result<(), FinetuneError> {
        if dir.exists() && !dir.is_dir() {
            return Err(FinetuneError::OutputIsFile { dir: dir.to_owned() });
        }
        let results = || -> Result<Vec<PathBuf>, FinetuneError> {
            Ok(found(dir, &RESULTS).into_iter().chain(checkpoints(dir)?).collect())
        };
        let (held, run, way_out) = match self {
            Self::Overwrite | Self::Resume => return Ok(()),
            Self::Restart => (results()?, "a run without a checkpoint to go on from", "start anew"),
            Self::New => {
                let lines = std::fs::metadata(dir.join(METRICS)).is_ok_and(|file| file.len() > 0);
                let metrics = lines.then(|| dir.join(METRICS));
                let held = results()?.into_iter().chain(metrics).collect();
                (held, "another run", "go on with it by --resume_from_checkpoint latest, start anew")
            }
        };
        let Some(first) = held.first().and_then(|path| path.file_name()) else { return Ok(()) };
        let file = first.to_string_lossy().into_owned();
        Err(FinetuneError::OutputHoldsRun { dir: dir.to_owned(), run, file, way_out })
    }

    /// Prepares `dir`: creates it where it is missing, and removes the files of any other run.
    ///
    /// # Errors
    /// [`FinetuneError::Io`] when the disk refuses.
    pub fn prepare(self, dir: &Path) -> Result<(), FinetuneError> {
        if self != Self::Resume {
            let names = [RESULTS.as_slice(), &[METRICS], &TRACES].concat();
            for trace in found(dir, &names).into_iter().chain(checkpoints(dir)?) {
                let removed = if trace.is_dir() {
                    std::fs::remove_dir_all(&trace)
                } else {
                    std::fs::remove_file(&trace)
                };
                removed.map_err(io("remove", &trace))?;
            }
        }
        create_dir(dir)?;
        AtomicDir::clean_stale(dir)?;
        Ok(())
    }
}

fn found(dir: &Path, names: &[&str]) -> Vec<PathBuf> {
    names.iter().map(|name| dir.join(name)).filter(|path| path.exists()).collect()
}

fn checkpoints(dir: &Path) -> Result<Vec<PathBuf>, FinetuneError> {
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(io("read", dir))? {
        let path = entry.map_err(io("read", dir))?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("checkpoint-")) {
            found.push(path);
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Writes the decided settings beside the results, as `run.toml`.
///
/// # Errors
/// [`FinetuneError::Weights`] when the disk refuses.
pub fn write_run_file(dir: &Path, text: &str) -> Result<(), FinetuneError> {
    Ok(atomic_write(&dir.join(RUN_FILE), |file| file.write_all(text.as_bytes()))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_another_run_are_kept_unless_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoint = dir.path().join("checkpoint-20");
        std::fs::create_dir(&checkpoint).unwrap();
        std::fs::write(dir.path().join("notes.txt"), "mine").unwrap();
        for mode in [OutputMode::New, OutputMode::Restart] {
            let error = mode.check(dir.path()).unwrap_err().to_string();
            assert!(error.contains("checkpoint-20"), "{error}");
        }
        for mode in [OutputMode::Resume, OutputMode::Overwrite] {
            mode.check(dir.path()).unwrap();
        }
        OutputMode::Resume.prepare(dir.path()).unwrap();
        assert!(checkpoint.exists());
        OutputMode::Overwrite.prepare(dir.path()).unwrap();
        assert!(!checkpoint.exists() && dir.path().join("notes.txt").exists());
    }

    #[test]
    fn a_run_that_saved_nothing_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let metrics = dir.path().join(METRICS);
        std::fs::write(dir.path().join(RUN_FILE), "seed = 1").unwrap();
        std::fs::write(&metrics, "").unwrap();
        OutputMode::New.check(dir.path()).unwrap();
        std::fs::write(&metrics, "{}\n").unwrap();
        assert!(OutputMode::New.check(dir.path()).is_err());
        OutputMode::Restart.check(dir.path()).unwrap();
        OutputMode::Restart.prepare(dir.path()).unwrap();
        assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none());
    }
}
