//! Small text files.

use std::path::Path;

use serde_json::Value;
use weights::{WeightsError, atomic_write, read_text};

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

/// Reads a JSON file.
pub(crate) fn read_json(path: &Path) -> Result<Value, CheckpointError> {
    let text = read_text(path, MAX_CONFIG_BYTES)
        .map_err(|source| CheckpointError::Read { path: path.to_owned(), source })?;
    serde_json::from_str(&text).map_err(|source| CheckpointError::Json { path: path.to_owned(), source })
}
