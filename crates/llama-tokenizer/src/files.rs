//! Reading the files of a tokenizer, with those that are no such file named.

use std::path::Path;

use serde::de::DeserializeOwned;

use crate::TokenizerError;

/// Bytes of a tokenizer; those of large vocabularies have 40 million.
const MAX_BYTES: u64 = 1 << 30;

/// Reads a whole file.
///
/// # Errors
/// [`TokenizerError::Read`], also for a pointer of Git LFS.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, TokenizerError> {
    plain_files::read_bytes(path, MAX_BYTES)
        .map_err(|source| TokenizerError::Read { path: path.to_owned(), source })
}

/// Parses the bytes of the file `path`.
///
/// # Errors
/// [`TokenizerError::Json`], with the line at which they stop being JSON.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8], path: &Path) -> Result<T, TokenizerError> {
    serde_json::from_slice(bytes).map_err(|source| TokenizerError::Json { path: path.to_owned(), source })
}

/// Reads a JSON file; `None` where there is none.
///
/// # Errors
/// Those of [`read`] and [`parse`].
pub(crate) fn json_if_there<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, TokenizerError> {
    if path.exists() { parse(&read(path)?, path).map(Some) } else { Ok(None) }
}
