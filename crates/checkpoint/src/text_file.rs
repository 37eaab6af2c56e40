//! Small text files.

use std::io::Read;
use std::path::Path;

use serde_json::Value;
use weights::{WeightsError, atomic_write, open_regular, read_text};

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

/// Tells whether a file is what Git LFS keeps in place of one it has not fetched.
fn is_lfs_pointer(bytes: &[u8]) -> bool {
    bytes.starts_with(b"version https://git-lfs")
}

/// Names a pointer of Git LFS that lies where a file should.
pub(crate) fn refuse_lfs_pointer(path: &Path) -> Result<(), CheckpointError> {
    let mut beginning = Vec::new();
    // A file that cannot be read is for its reader to name.
    let read = open_regular(path).and_then(|file| file.take(64).read_to_end(&mut beginning));
    if read.is_ok() && is_lfs_pointer(&beginning) {
        return Err(CheckpointError::LfsPointer { path: path.to_owned() });
    }
    Ok(())
}

/// Reads a JSON file.
pub(crate) fn read_json(path: &Path) -> Result<Value, CheckpointError> {
    let text = read_text(path, MAX_CONFIG_BYTES)
        .map_err(|source| CheckpointError::Read { path: path.to_owned(), source })?;
    if is_lfs_pointer(text.as_bytes()) {
        return Err(CheckpointError::LfsPointer { path: path.to_owned() });
    }
    serde_json::from_str(&text).map_err(|source| CheckpointError::Json { path: path.to_owned(), source })
}
