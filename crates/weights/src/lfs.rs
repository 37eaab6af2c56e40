//! Files that Git LFS writes in place of those it has not fetched.

use std::path::Path;

use crate::WeightsError;

/// Refuses the contents of `path` where they are a pointer of Git LFS.
pub(crate) fn refuse_lfs_pointer(path: &Path, bytes: &[u8]) -> Result<(), WeightsError> {
    if plain_files::is_lfs_pointer(bytes) {
        return Err(WeightsError::LfsPointer { path: path.to_owned() });
    }
    Ok(())
}
