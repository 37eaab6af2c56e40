//! Files in memory.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use memmap2::{MmapMut, MmapOptions};

use crate::{WeightsError, open_regular};

/// A part of a file mapped privately (copy-on-write): pages are shared with the page cache until they are written to, and what is
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

/// An open file, of which each tensor's part is mapped while a tensor looks at it. Pages that were only read to be converted or
/// quantised are so given back; kept, they would count as memory of the process, and may be twice what the model takes.
#[derive(Debug)]
pub(crate) struct MappedFile {
    path: PathBuf,
    file: File,
    len: usize,
    parts: Mutex<HashMap<Range<usize>, Weak<Mapping>>>,
}

impl MappedFile {
    /// Opens `path` and maps the whole of it, to read its header.
    ///
    /// # Errors
    /// [`WeightsError::Read`] when the file cannot be opened or mapped.
    pub(crate) fn open(path: &Path) -> Result<(Self, Mapping), WeightsError> {
        let failed = |source| WeightsError::Read { path: path.to_owned(), source };
        let file = open_regular(path).map_err(failed)?;
        let map = map(MmapOptions::new(), &file).map_err(failed)?;
        let mapped = Self { path: path.to_owned(), file, len: map.len(), parts: Mutex::default() };
        Ok((mapped, Mapping(map)))
    }

    /// Returns the mapping of some bytes: that which tensors look at, or a new one.
    ///
    /// # Errors
    /// [`WeightsError::Read`] when the file cannot be mapped, or is shorter than when it was opened.
    pub(crate) fn part(&self, bytes: Range<usize>) -> Result<Arc<Mapping>, WeightsError> {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(part) = parts.get(&bytes).and_then(Weak::upgrade) {
            return Ok(part);
        }
        let failed = |source| WeightsError::Read { path: self.path.clone(), source };
        let len = self.file.metadata().map_err(failed)?.len();
        if len < self.len as u64 {
            let text = format!("it had {} bytes when it was opened and has {len} now", self.len);
            return Err(failed(io::Error::other(text)));
        }
        let mut options = MmapOptions::new();
        options.offset(bytes.start as u64).len(bytes.len());
        let part = Arc::new(Mapping(map(options, &self.file).map_err(failed)?));
        parts.insert(bytes, Arc::downgrade(&part));
        Ok(part)
    }
}

#[expect(unsafe_code, reason = "the one place where a file becomes memory")]
fn map(mut options: MmapOptions, file: &File) -> io::Result<MmapMut> {
    // No swap is reserved: a 13 GB checkpoint must map on a machine with less memory than that.
    // SAFETY: the mapping is private, so no write goes out; that the file is not changed from outside is the
    // documented condition every reader of mapped checkpoints relies on.
    unsafe { options.no_reserve_swap().map_copy(file) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_mapped_while_somebody_looks_at_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("numbers");
        let numbers: Vec<u8> = (0..200).collect();
        std::fs::write(&path, &numbers).unwrap();
        let (file, whole) = MappedFile::open(&path).unwrap();
        assert_eq!(whole.as_ref(), numbers);
        let part = file.part(7..11).unwrap();
        assert_eq!((*part).as_ref(), [7, 8, 9, 10]);
        assert!(Arc::ptr_eq(&part, &file.part(7..11).unwrap()));
        let gone = Arc::downgrade(&part);
        drop(part);
        assert!(gone.upgrade().is_none());
        // Another file of that name is not this one.
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, [8; 3]).unwrap();
        assert_eq!((*file.part(7..8).unwrap()).as_ref(), [7]);
    }

    #[test]
    fn a_file_that_was_cut_short_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("numbers");
        std::fs::write(&path, [7; 64]).unwrap();
        let (file, whole) = MappedFile::open(&path).unwrap();
        drop(whole);
        std::fs::write(&path, [7; 63]).unwrap();
        let error = file.part(0..8).unwrap_err().to_string();
        assert!(error.contains("numbers"), "{error}");
    }
}
