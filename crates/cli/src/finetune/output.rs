//! The directory a run writes to.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use weights::{AtomicDir, atomic_write};

use crate::exit::usage;

/// The resolved configuration beside the results.
pub(crate) const RUN_FILE: &str = "run.toml";

/// Files and folders that tell of a run.
const TRACES: [&str; 7] = [
    RUN_FILE,
    "adapter_model.safetensors",
    "adapter_model.bin",
    "adapter_config.json",
    "model.safetensors",
    "metrics.jsonl",
    "runs",
];

/// Makes `dir` ready: new, or cleared of the earlier run when `overwrite` is set, or as it is when a run is resumed in it.
///
/// # Errors
/// When it holds another run and nobody said what to do with that.
pub(crate) fn prepare(dir: &Path, resuming: bool, overwrite: bool) -> Result<()> {
    if dir.exists() && !dir.is_dir() {
        return Err(usage(format!("output_dir `{}` is a file", dir.display())));
    }
    if !resuming {
        let traces = traces(dir)?;
        if let Some(first) = traces.first() {
            if !overwrite {
                return Err(usage(format!(
                    "output_dir `{}` holds another run (`{}`); go on with it by --resume_from_checkpoint latest, start \
                     anew in its place by --overwrite_output_dir, or name another directory",
                    dir.display(),
                    first.file_name().unwrap_or_default().to_string_lossy()
                )));
            }
            for trace in traces {
                let removed =
                    if trace.is_dir() { std::fs::remove_dir_all(&trace) } else { std::fs::remove_file(&trace) };
                removed.with_context(|| format!("cannot remove `{}`", trace.display()))?;
            }
        }
    }
    std::fs::create_dir_all(dir).with_context(|| format!("cannot create output_dir `{}`", dir.display()))?;
    AtomicDir::clean_stale(dir)?;
    Ok(())
}

fn traces(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found: Vec<PathBuf> = TRACES.iter().map(|name| dir.join(name)).filter(|path| path.exists()).collect();
    if dir.is_dir() {
        for entry in std::fs::read_dir(dir).with_context(|| format!("cannot read `{}`", dir.display()))? {
            let path = entry?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("checkpoint-")) {
                found.push(path);
            }
        }
    }
    Ok(found)
}

/// Writes the resolved configuration.
pub(crate) fn write_run_file(dir: &Path, text: &str) -> Result<()> {
    Ok(atomic_write(&dir.join(RUN_FILE), |file| file.write_all(text.as_bytes()))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_run_is_neither_mixed_with_nor_lost() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoint = dir.path().join("checkpoint-20");
        std::fs::create_dir(&checkpoint).unwrap();
        std::fs::write(dir.path().join("notes.txt"), "mine").unwrap();
        let error = prepare(dir.path(), false, false).unwrap_err().to_string();
        assert!(error.contains("checkpoint-20"), "{error}");
        prepare(dir.path(), true, false).unwrap();
        assert!(checkpoint.exists());
        prepare(dir.path(), false, true).unwrap();
        assert!(!checkpoint.exists() && dir.path().join("notes.txt").exists());
    }
}
