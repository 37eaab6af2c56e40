//! The directory of an adapter.

use std::path::{Path, PathBuf};

use crate::config::ADAPTER_CONFIG;
use crate::error::LoraError;

/// Name of the file of tensors in an adapter directory.
pub(crate) const ADAPTER_WEIGHTS: &str = "adapter_model.safetensors";

/// Finds the adapter in `dir`: there, or in the only folder of it that holds one. PEFT puts an adapter that is not called
/// `default` into a folder of its name.
///
/// # Errors
/// [`LoraError::SeveralAdapters`] when several folders hold one.
pub fn find_adapter(dir: &Path) -> Result<PathBuf, LoraError> {
    if dir.join(ADAPTER_CONFIG).exists() {
        return Ok(dir.to_owned());
    }
    let folders = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<PathBuf> = folders.filter(|path| path.join(ADAPTER_CONFIG).exists()).collect();
    found.sort();
    match found.as_slice() {
        // Whoever reads it says what is missing.
        [] => Ok(dir.to_owned()),
        [only] => {
            tracing::info!("the adapter is in `{}`", only.display());
            Ok(only.clone())
        }
        several => {
            let found = several.iter().map(|path| format!("`{}`", path.display())).collect::<Vec<_>>();
            Err(LoraError::SeveralAdapters { dir: dir.to_owned(), found: found.join(", ") })
        }
    }
}
