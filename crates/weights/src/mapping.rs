//! Files in memory.

use std::path::Path;

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

impl Mapping {
    /// Maps the whole of `path`.
    ///
    /// # Errors
    /// [`WeightsError::Read`] when the file cannot be opened or mapped.
    pub(crate) fn open(path: &Path) -> Result<Self, WeightsError> {
        Self::map(path).map(Self).map_err(|source| WeightsError::Read { path: path.to_owned(), source })
    }

    #[expect(unsafe_code, reason = "the one place where a file becomes memory")]
    fn map(path: &Path) -> std::io::Result<MmapMut> {
        let file = open_regular(path)?;
        // No swap is reserved: a 13 GB checkpoint must map on a machine with less memory than that.
        // SAFETY: the mapping is private, so no write goes out; that the file is not changed from outside is the
        // documented condition every reader of mapped checkpoints relies on.
        unsafe { MmapOptions::new().no_reserve_swap().map_copy(&file) }
    }
}

impl AsRef<[u8]> for Mapping {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
