//! The directory that a run writes to.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use weights::{AtomicDir, atomic_write};

use super::inputs::INPUTS;
use crate::exit::usage;

/// The file of the decided settings.
pub(crate) const RUN_FILE: &str = "run.toml";

/// Files of a run that cost work.
const RESULTS: [&str; 3] = ["adapter_model.safetensors", "adapter_model.bin", "model.safetensors"];

/// The lines of metrics, kept once there is one.
const METRICS: &str = "metrics.jsonl";

/// Other files of a run.
const TRACES: [&str; 5] = [RUN_FILE, INPUTS, super::summary::FILE, "adapter_config.json", "runs"];

/// The use that a run makes of its output directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutputMode {
    /// A new run in a directory without one.
    New,
    /// A new run in place of one that saved no checkpoint to resume.
    Restart,
    /// A new run in place of whatever run the directory holds.
    Overwrite,
    /// The run that the directory holds continues.
    Resume,
}

/// Checks that `dir` can be used in this mode; changes nothing.
///
/// # Errors
/// When it holds another run and nobody said what to do with that.
pub(crate) fn check(dir: &Path, mode: OutputMode) -> Result<()> {
    if dir.exists() && !dir.is_dir() {
        return Err(usage(format!("output_dir `{}` is a file", dir.display())));
    }
    let results =
        || found(dir, &RESULTS).into_iter().chain(checkpoints(dir)?).map(Ok).collect::<Result<Vec<_>>>();
    let (held, way_out) = match mode {
        OutputMode::Overwrite | OutputMode::Resume => return Ok(()),
        OutputMode::Restart => (results()?, "start anew"),
        OutputMode::New => {
            let lines = std::fs::metadata(dir.join(METRICS)).is_ok_and(|file| file.len() > 0);
            let metrics = lines.then(|| dir.join(METRICS));
            (
                results()?.into_iter().chain(metrics).collect(),
                "go on with it by --resume_from_checkpoint latest, start anew",
            )
        }
    };
    let Some(first) = held.first() else { return Ok(()) };
    let what =
        if mode == OutputMode::Restart { "a run without a checkpoint to go on from" } else { "another run" };
    Err(usage(format!(
        "output_dir `{}` holds {what} (`{}`); {way_out} in its place by --overwrite_output_dir, or name another directory",
        dir.display(),
        first.file_name().unwrap_or_default().to_string_lossy()
    )))
}

/// Prepares `dir`: creates it where it is missing, and removes the files of any other run.
///
/// # Errors
/// When the disk refuses.
pub(crate) fn prepare(dir: &Path, mode: OutputMode) -> Result<()> {
    if mode != OutputMode::Resume {
        let names = [RESULTS.as_slice(), &[METRICS], &TRACES].concat();
        for trace in found(dir, &names).into_iter().chain(checkpoints(dir)?) {
            let removed =
                if trace.is_dir() { std::fs::remove_dir_all(&trace) } else { std::fs::remove_file(&trace) };
            removed.with_context(|| format!("cannot remove `{}`", trace.display()))?;
        }
    }
    std::fs::create_dir_all(dir).with_context(|| format!("cannot create output_dir `{}`", dir.display()))?;
    AtomicDir::clean_stale(dir)?;
    Ok(())
}

fn found(dir: &Path, names: &[&str]) -> Vec<PathBuf> {
    names.iter().map(|name| dir.join(name)).filter(|path| path.exists()).collect()
}

fn checkpoints(dir: &Path) -> Result<Vec<PathBuf>> {
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(|| format!("cannot read `{}`", dir.display()))? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("checkpoint-")) {
            found.push(path);
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Writes the decided settings beside the results.
pub(crate) fn write_run_file(dir: &Path, text: &str) -> Result<()> {
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
            let error = check(dir.path(), mode).unwrap_err().to_string();
            assert!(error.contains("checkpoint-20"), "{error}");
        }
        for mode in [OutputMode::Resume, OutputMode::Overwrite] {
            check(dir.path(), mode).unwrap();
        }
        prepare(dir.path(), OutputMode::Resume).unwrap();
        assert!(checkpoint.exists());
        prepare(dir.path(), OutputMode::Overwrite).unwrap();
        assert!(!checkpoint.exists() && dir.path().join("notes.txt").exists());
    }

    #[test]
    fn a_run_that_saved_nothing_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let metrics = dir.path().join(METRICS);
        std::fs::write(dir.path().join(RUN_FILE), "seed = 1").unwrap();
        std::fs::write(&metrics, "").unwrap();
        check(dir.path(), OutputMode::New).unwrap();
        std::fs::write(&metrics, "{}\n").unwrap();
        assert!(check(dir.path(), OutputMode::New).is_err());
        check(dir.path(), OutputMode::Restart).unwrap();
        prepare(dir.path(), OutputMode::Restart).unwrap();
        assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none());
    }
}
