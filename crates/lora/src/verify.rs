//! Reading a saved adapter back.

use std::path::{Path, PathBuf};

use crate::adapters::{LoraAdapters, shapes};
use crate::error::LoraError;
use crate::saved::Adapter;

/// Facts that [`verify_saved`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedAdapter {
    /// The file of tensors.
    pub path: PathBuf,
    /// Tensors in it.
    pub num_tensors: usize,
    /// Numbers in it.
    pub num_parameters: usize,
}

/// Reads a saved adapter back and checks that it is whole and does something: every tensor there, of the right shape,
/// no `lora_B` all zero.
///
/// # Errors
/// [`LoraError`] naming the first thing that is wrong.
pub fn verify_saved(adapters: &LoraAdapters, dir: &Path) -> Result<SavedAdapter, LoraError> {
    let adapter = Adapter::read(dir)?;
    let num_tensors = adapter.take(shapes(&adapters.parameters()))?.len();
    adapter.check_trained()?;
    let (path, num_parameters) = (adapter.path().to_owned(), adapters.num_parameters());
    Ok(SavedAdapter { path, num_tensors, num_parameters })
}
