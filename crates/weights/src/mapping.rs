//! Files in memory.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use memmap2::{MmapMut, MmapOptions};

use crate::{WeightsError, open_regular};

/// A file mapped privately (copy-on-write): pages are shared with the page cache until they are written to, and what is
/// written never reaches the file. So an in-place operation on a tensor that looks at it is safe.
///
/// Pages are read when they are first touched; mapping a file of any size takes microseconds and no memory. A file that
/// is cut short by somebody else while it is mapped ends the process with SIGBUS, as with every mapping; files written
/// by this crate are replaced, never changed in place.
#[derive(Debug)]
pub(crate) struct Mapping(MmapMut);

impl AsRef<[u8]> for Mapping {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// An open file that is mapped while a tensor looks at it. Pages that were only read to be converted or quantised are given back
/// with the last of these tensors; kept, they would count as memory of the process, and be twice what the model takes.
#[derive(Debug)]
pub(crate) struct MappedFile {
    path: PathBuf,
    file: File,
    len: usize,
    map: Mutex<Weak<Mapping>>,
}

impl MappedFile {
    /// Opens `path` and maps the whole of it.
    ///
    /// # Errors
    /// [`WeightsError::Read`] when the file cannot be opened or mapped.
    pub(crate) fn open(path: &Path) -> Result<(Self, Arc<Mapping>), WeightsError> {
        let failed = |source| WeightsError::Read { path: path.to_owned(), source };
        let file = open_regular(path).map_err(failed)?;
        let map = Arc::new(Mapping(map(&file).map_err(failed)?));
        let (len, known) = (map.as_ref().as_ref().len(), Mutex::new(Arc::downgrade(&map)));
        Ok((Self { path: path.to_owned(), file, len, map: known }, map))
    }

    /// Returns the mapping: that which tensors look at, or a new one.
    ///
    /// # Errors
    /// [`WeightsError::Read`] when the file cannot be mapped, or has another length than when it was opened.
    pub(crate) fn map(&self) -> Result<Arc<Mapping>, WeightsError> {
        let mut known = self.map.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(map) = known.upgrade() {
            return Ok(map);
        }
        let failed = |source| WeightsError::Read { path: self.path.clone(), source };
        let map = map(&self.file).map_err(failed)?;
        if map.len() != self.len {
            let text = format!("it had {} bytes when it was opened and has {} now", self.len, map.len());
            return Err(failed(io::Error::other(text)));
        }
        let map = Arc::new(Mapping(map));
        *known = Arc::downgrade(&map);
        Ok(map)
    }
}

#[expect(unsafe_code, reason = "the one place where a file becomes memory")]
fn map(file: &File) -> io::Result<MmapMut> {
    // No swap is reserved: a 13 GB checkpoint must map on a machine with less memory than that.
    // SAFETY: the mapping is private, so no write goes out; that the file is not changed from outside is the
    // documented condition every reader of mapped checkpoints relies on.
    unsafe { MmapOptions::new().no_reserve_swap().map_copy(file) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_mapped_while_somebody_looks_at_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("numbers");
        std::fs::write(&path, [7; 64]).unwrap();
        let (file, map) = MappedFile::open(&path).unwrap();
        let same = file.map().unwrap();
        assert!(Arc::ptr_eq(&map, &same));
        let gone = Arc::downgrade(&map);
        drop((map, same));
        assert!(gone.upgrade().is_none());
        // Another file of that name is not this one.
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, [8; 3]).unwrap();
        assert_eq!((*file.map().unwrap()).as_ref(), [7; 64]);
    }

    #[test]
    fn a_file_that_was_cut_short_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("numbers");
        std::fs::write(&path, [7; 64]).unwrap();
        let (file, map) = MappedFile::open(&path).unwrap();
        drop(map);
        std::fs::write(&path, [7; 63]).unwrap();
        let error = file.map().unwrap_err().to_string();
        assert!(error.contains("numbers"), "{error}");
    }
}
