//! Reading the files of a tokenizer, with those that are no such file named.

use std::path::Path;

use serde::de::DeserializeOwned;

use crate::TokenizerError;

/// First bytes of the file that Git LFS writes in place of one it has not fetched.
const LFS_POINTER: &[u8] = b"version https://git-lfs";

/// Reads a whole file.
///
/// # Errors
/// [`TokenizerError::Read`], and [`TokenizerError::LfsPointer`] for a clone without Git LFS.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, TokenizerError> {
    let failed = |source| TokenizerError::Read { path: path.to_owned(), source };
    // Opening a named pipe would wait for a writer.
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(failed(std::io::Error::other("not a regular file")));
    }
    let bytes = std::fs::read(path).map_err(failed)?;
    if bytes.starts_with(LFS_POINTER) {
        return Err(TokenizerError::LfsPointer { path: path.to_owned() });
    }
    Ok(bytes)
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
