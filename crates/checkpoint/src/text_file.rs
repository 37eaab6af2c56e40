//! Small text files.

use std::path::Path;

use plain_files::read_text;
use serde_json::Value;
use weights::{WeightsError, atomic_write};

use crate::CheckpointError;

/// Writes a text and a line break; the file appears complete or not at all.
pub(crate) fn write_text(path: &Path, text: &str) -> Result<(), WeightsError> {
    atomic_write(path, |file| {
        file.write_all(text.as_bytes())?;
        file.write_all(b"\n")
    })
}

/// Bytes of a configuration; real ones have a few thousand.
pub(crate) const MAX_CONFIG_BYTES: u64 = 16 << 20;

/// Names a pointer of Git LFS that lies where a file should.
pub(crate) fn refuse_lfs_pointer(path: &Path) -> Result<(), CheckpointError> {
    plain_files::refuse_lfs_pointer(path).map_err(unread(path))
}

/// Reads a small text file.
pub(crate) fn read_small(path: &Path) -> Result<String, CheckpointError> {
    read_text(path, MAX_CONFIG_BYTES).map_err(unread(path))
}

/// Reads a JSON file.
pub(crate) fn read_json(path: &Path) -> Result<Value, CheckpointError> {
    serde_json::from_str(&read_small(path)?)
        .map_err(|source| CheckpointError::Json { path: path.to_owned(), source })
}

fn unread(path: &Path) -> impl Fn(std::io::Error) -> CheckpointError {
    move |source| CheckpointError::Read { path: path.to_owned(), source }
}
