//! Small text files.

use std::path::Path;

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

/// Reads a JSON file.
pub(crate) fn read_json(path: &Path) -> Result<Value, CheckpointError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| CheckpointError::Read { path: path.to_owned(), source })?;
    serde_json::from_str(&text).map_err(|source| CheckpointError::Json { path: path.to_owned(), source })
}
