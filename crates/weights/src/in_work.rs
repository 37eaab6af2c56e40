//! Temporary paths that this process is still filling.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Marks a temporary path as being filled, until it is dropped. A process id comes back (in a container it is often
/// always the same), so the id in a name alone does not tell living work from what a dead process left.
#[derive(Debug)]
pub(crate) struct InWork(PathBuf);

impl InWork {
    pub(crate) fn begin(path: &Path) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        paths().insert(path.clone());
        Ok(Self(path))
    }

    /// Tells whether the absolute path `path` is being filled.
    pub(crate) fn has(path: &Path) -> bool {
        paths().contains(path)
    }
}

impl Drop for InWork {
    fn drop(&mut self) {
        paths().remove(&self.0);
    }
}

fn paths() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    static PATHS: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    PATHS.lock().unwrap_or_else(PoisonError::into_inner)
}
