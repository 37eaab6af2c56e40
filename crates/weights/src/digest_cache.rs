//! Digests of large files that need not be computed twice.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::{Digest, WeightsError, atomic_write};

/// Digests of files as they were when last read. A file is read again unless its size, times, inode and device are the same:
/// writing to a file changes the time of its inode (`ctime`), which no program can set.
#[derive(Debug, Default)]
pub struct DigestCache {
    entries: BTreeMap<PathBuf, Entry>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Entry {
    blake3: String,
    identity: Identity,
}

/// Properties of a file that cannot stay as they are when its content changes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Identity {
    num_bytes: u64,
    /// Nanoseconds since 1970.
    mtime_ns: i64,
    ctime_ns: i64,
    inode: u64,
    device: u64,
}

/// Longest cache that is read: some hundred thousand files.
const MOST_BYTES: u64 = 64 << 20;

/// A change that follows another within the clock's tick leaves the same time: a digest is kept only where the last change
/// is older than this.
const SETTLED: Duration = Duration::from_secs(2);

impl DigestCache {
    /// Reads the cache in the file `path`. One that is absent or cannot be understood is empty.
    pub fn read(path: &Path) -> Self {
        let entries = plain_files::read_bytes(path, MOST_BYTES)
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok());
        Self { entries: entries.unwrap_or_default() }
    }

    /// Returns the digest of a file, read only where it may have changed.
    ///
    /// # Errors
    /// [`WeightsError::Read`] when it cannot be read.
    pub fn digest(&mut self, file: &Path) -> Result<Digest, WeightsError> {
        let read = |source| WeightsError::Read { path: file.to_owned(), source };
        let path = std::fs::canonicalize(file).map_err(read)?;
        let identity = Identity::of(&std::fs::metadata(&path).map_err(read)?);
        let known = self.entries.get(&path).filter(|entry| Some(entry.identity) == identity);
        if let Some(digest) = known.and_then(|entry| entry.blake3.parse().ok()) {
            return Ok(digest);
        }
        let begun = SystemTime::now();
        let digest = Digest::of_file(&path)?;
        self.entries.remove(&path);
        if let Some(identity) = identity.filter(|identity| identity.is_settled(begun)) {
            self.entries.insert(path, Entry { blake3: digest.to_string(), identity });
        }
        Ok(digest)
    }

    /// Writes the cache to the file `path`.
    ///
    /// # Errors
    /// [`WeightsError::Write`] when the disk refuses.
    pub fn write(&self, path: &Path) -> Result<(), WeightsError> {
        let failed = |error| WeightsError::Write { path: path.to_owned(), source: error };
        let text = serde_json::to_string_pretty(&self.entries).map_err(|error| failed(error.into()))?;
        atomic_write(path, |file| file.write_all(text.as_bytes()))
    }
}

impl Identity {
    /// Returns none where the system tells too little.
    #[cfg(unix)]
    #[expect(clippy::unnecessary_wraps, reason = "other systems return none")]
    fn of(metadata: &Metadata) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        let ns = |seconds: i64, ns: i64| seconds.saturating_mul(1_000_000_000).saturating_add(ns);
        Some(Self {
            num_bytes: metadata.len(),
            mtime_ns: ns(metadata.mtime(), metadata.mtime_nsec()),
            ctime_ns: ns(metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
            device: metadata.dev(),
        })
    }

    #[cfg(not(unix))]
    fn of(_: &Metadata) -> Option<Self> {
        None
    }

    fn is_settled(&self, now: SystemTime) -> bool {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.ctime_ns.max(self.mtime_ns) + (SETTLED.as_nanos() as i64) < now.as_nanos() as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_read_again_even_with_its_old_size_and_time() {
        let dir = tempfile::tempdir().unwrap();
        let (file, list) = (dir.path().join("model"), dir.path().join("cache.json"));
        std::fs::write(&file, "one").unwrap();
        let mut cache = DigestCache::default();
        assert_eq!(cache.digest(&file).unwrap(), Digest::of_pieces(["one"]));
        let mtime = std::fs::metadata(&file).unwrap().modified().unwrap();
        std::fs::write(&file, "two").unwrap();
        std::fs::File::options().write(true).open(&file).unwrap().set_modified(mtime).unwrap();
        cache.write(&list).unwrap();
        assert_eq!(DigestCache::read(&list).digest(&file).unwrap(), Digest::of_pieces(["two"]));
    }

    #[test]
    fn a_file_that_rests_is_read_once_and_a_damaged_cache_is_empty() {
        let dir = tempfile::tempdir().unwrap();
        let (file, list) = (dir.path().join("model"), dir.path().join("cache.json"));
        std::fs::write(&file, "one").unwrap();
        let path = std::fs::canonicalize(&file).unwrap();
        let identity = Identity::of(&std::fs::metadata(&path).unwrap()).unwrap();
        assert!(!identity.is_settled(SystemTime::now()));
        assert!(identity.is_settled(SystemTime::now() + SETTLED * 2));
        // A digest that is not the file's shows whether it was read.
        let kept = Digest::of_pieces(["kept"]);
        let mut cache = DigestCache::default();
        cache.entries.insert(path, Entry { blake3: kept.to_string(), identity });
        cache.write(&list).unwrap();
        assert_eq!(DigestCache::read(&list).digest(&file).unwrap(), kept);
        std::fs::write(&list, b"{\xFF").unwrap();
        assert_eq!(DigestCache::read(&list).digest(&file).unwrap(), Digest::of_pieces(["one"]));
    }
}
