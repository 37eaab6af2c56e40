//! Files that appear complete or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::WeightsError;
use crate::in_work::InWork;

/// Writes a file through `write`, so that `path` holds either what it held before or all of the new content, whatever
/// happens in between: the content goes to a temporary file in the same folder, reaches the disk, and is renamed.
///
/// # Errors
/// [`WeightsError::DiskFull`] when the disk is full, [`WeightsError::Write`] with any other failure, that of `write`
/// included. The temporary file is gone in each case.
pub fn atomic_write(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), WeightsError> {
    let mut file = TempFile::create(path, 0)?;
    let outcome = write(&mut file.writer);
    file.check(outcome)?;
    file.commit()
}

/// Returns `.{name}.tmp-{pid}` beside `target`.
pub(crate) fn temporary_name(target: &Path) -> PathBuf {
    sibling(target, "tmp")
}

/// Returns `.{name}.{tag}-{pid}` beside `target`.
pub(crate) fn sibling(target: &Path, tag: &str) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    target.with_file_name(format!(".{name}.{tag}-{}", std::process::id()))
}

/// Returns the folder `path` is in.
pub(crate) fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes what was done in the folder `dir` (a rename, a new file) outlast a power cut, where the file system can.
pub(crate) fn sync_folder(dir: &Path) -> io::Result<()> {
    match File::open(dir)?.sync_all() {
        // Some file systems of other machines and of virtual ones bring files to the disk, and know nothing of folders.
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
        outcome => outcome,
    }
}

/// A file under its temporary name; removed when it is dropped before [`TempFile::commit`].
#[derive(Debug)]
pub(crate) struct TempFile {
    target: PathBuf,
    temporary: PathBuf,
    _in_work: InWork,
    writer: Counting<BufWriter<File>>,
    /// Size of the finished file where it is known, else 0.
    num_bytes: u64,
    committed: bool,
}

impl TempFile {
    pub(crate) fn create(target: &Path, num_bytes: u64) -> Result<Self, WeightsError> {
        let temporary = temporary_name(target);
        let begin = || Ok((InWork::begin(&temporary)?, File::create(&temporary)?));
        let (in_work, file) = begin().map_err(|source| write_error(target, num_bytes, source))?;
        let writer = Counting { inner: BufWriter::with_capacity(64 << 10, file), asked: 0 };
        Ok(Self {
            target: target.to_owned(),
            temporary,
            _in_work: in_work,
            writer,
            num_bytes,
            committed: false,
        })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), WeightsError> {
        let outcome = self.writer.write_all(bytes);
        self.check(outcome)
    }

    /// Brings the content to the disk and gives it its name.
    pub(crate) fn commit(mut self) -> Result<(), WeightsError> {
        let outcome = self.finish();
        self.check(outcome)?;
        self.committed = true;
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.writer.flush()?;
        self.writer.inner.get_ref().sync_all()?;
        fs::rename(&self.temporary, &self.target)?;
        sync_folder(folder(&self.target))
    }

    /// Replaces bytes that are already written, `offset` from the start.
    pub(crate) fn patch(&mut self, patches: &[(u64, [u8; 4])]) -> Result<(), WeightsError> {
        let outcome = self.try_patch(patches);
        self.check(outcome)
    }

    fn try_patch(&mut self, patches: &[(u64, [u8; 4])]) -> io::Result<()> {
        self.writer.flush()?;
        let mut file = self.writer.inner.get_ref();
        for (offset, bytes) in patches {
            file.seek(SeekFrom::Start(*offset))?;
            file.write_all(bytes)?;
        }
        file.seek(SeekFrom::End(0))?;
        Ok(())
    }

    /// Returns another handle on the file.
    pub(crate) fn handle(&self) -> io::Result<File> {
        self.writer.inner.get_ref().try_clone()
    }

    fn check(&self, outcome: io::Result<()>) -> Result<(), WeightsError> {
        outcome.map_err(|source| self.failure(source))
    }

    /// Makes the error of a disk that refuses, with the file it is about.
    pub(crate) fn failure(&self, source: io::Error) -> WeightsError {
        write_error(&self.target, self.num_bytes.max(self.writer.asked), source)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if !self.committed {
            // The failure that led here is the one worth reporting.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Counts the bytes it was asked to write, whether or not they found room.
#[derive(Debug)]
struct Counting<W> {
    inner: W,
    asked: u64,
}

impl<W: Write> Write for Counting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes);
        self.asked += *written.as_ref().unwrap_or(&bytes.len()) as u64;
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Tells whether there is no room for a file: on the disk, in the user's quota, or below the largest size that a file may
/// have (`ulimit -f`, with `SIGXFSZ` ignored).
pub fn is_full(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
}

pub(crate) fn write_error(path: &Path, num_bytes: u64, source: io::Error) -> WeightsError {
    let path = path.to_owned();
    match source.kind() {
        kind if is_full(kind) => WeightsError::DiskFull { path, num_bytes, source },
        _ => WeightsError::Write { path, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_reported_with_path_and_size() {
        let Ok(full) = File::options().write(true).open("/dev/full") else {
            eprintln!("skipped: /dev/full is absent");
            return;
        };
        let mut writer = Counting { inner: full, asked: 0 };
        let source = writer.write_all(&[0; 4096]).unwrap_err();
        let error = write_error(Path::new("out/model.safetensors"), writer.asked, source);
        assert_eq!(
            error.to_string(),
            "the disk is full: cannot write `out/model.safetensors`, which needs at least 4096 bytes"
        );
    }

    #[test]
    fn a_failed_write_leaves_the_old_content_and_no_temporary_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        atomic_write(&path, |writer| writer.write_all(b"old")).unwrap();
        let failed = atomic_write(&path, |writer| {
            writer.write_all(b"half of the new")?;
            Err(io::Error::other("stopped"))
        });
        assert!(matches!(failed, Err(WeightsError::Write { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        atomic_write(&path, |writer| writer.write_all(b"new")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
