//! One owner for a directory.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use crate::WeightsError;
use crate::atomic_file::write_error;

/// Name of the lock file.
const LOCK: &str = "run.lock";

/// The ownership of a directory, from [`DirLock::acquire`] until it is dropped or the process ends, however it ends.
///
/// It is a lock of the system (`flock`) on the file `run.lock`, so a dead process never blocks another: the file that it
/// leaves behind is nobody's. Linux passes such locks on to NFS and SMB servers, and so they hold between machines too,
/// unless the mount keeps locks to itself (`nolock`, `local_lock=flock`): there each machine sees its own processes only.
#[derive(Debug)]
pub struct DirLock {
    path: PathBuf,
    /// None where the file system knows no locks.
    file: Option<File>,
    /// The directory did not exist before.
    made: bool,
    /// What is to be told of it.
    note: Option<String>,
}

impl DirLock {
    /// Makes the directory `dir` this process's own; it is created where it is missing.
    ///
    /// # Errors
    /// [`WeightsError::InUse`], with the owner, when another process has it; [`WeightsError::Write`] when the disk refuses.
    pub fn acquire(dir: &Path) -> Result<Self, WeightsError> {
        let made = !dir.exists();
        let path = dir.join(LOCK);
        let begin = || {
            loop {
                fs::create_dir_all(dir)?;
                let opened =
                    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
                let mut file = match opened {
                    // Its owner ended and took the empty directory along.
                    Err(error) if error.kind() == ErrorKind::NotFound => continue,
                    opened => opened?,
                };
                match file.try_lock() {
                    // The owner removes the file when it ends: what was locked may no longer be the one of this name.
                    Ok(()) if !is_at(&file, &path) => {}
                    Ok(()) => {
                        let before = owner(&mut file);
                        return claim(file).map(|file| Ok((Some(file), before)));
                    }
                    Err(TryLockError::WouldBlock) => return Ok(Err(owner(&mut file))),
                    Err(TryLockError::Error(error)) if is_unsupported(&error) => {
                        let before = owner(&mut file);
                        return claim(file).map(|_| Ok((None, before)));
                    }
                    Err(TryLockError::Error(error)) => return Err(error),
                }
            }
        };
        match begin().map_err(|source| write_error(&path, 0, source))? {
            Ok((file, before)) => {
                let note = note(dir, file.is_some(), before.as_deref());
                Ok(Self { path, file, made, note })
            }
            Err(owner) => Err(WeightsError::InUse {
                path: dir.to_owned(),
                owner: owner.unwrap_or_else(|| "another process".to_owned()),
            }),
        }
    }

    /// Returns the locked directory.
    pub fn dir(&self) -> &Path {
        self.path.parent().unwrap_or(&self.path)
    }

    /// Returns what the user has to be told: that the lock may not hold, and why.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }
}

impl Drop for DirLock {
    fn drop(&mut self) {
        // While the lock is still held, so that nobody else's file is removed. What stays behind is harmless.
        let _ = fs::remove_file(&self.path);
        if self.made {
            // Only an empty directory goes: nothing came of the run.
            let _ = fs::remove_dir(self.dir());
        }
        drop(self.file.take());
    }
}

/// Writes this process into the lock file.
fn claim(mut file: File) -> io::Result<File> {
    file.set_len(0)?;
    file.write_all(format!("process {} on {}\n", std::process::id(), host()).as_bytes())?;
    Ok(file)
}

/// Reads the process that a lock file names.
fn owner(file: &mut File) -> Option<String> {
    let mut bytes = Vec::new();
    file.take(300).read_to_end(&mut bytes).ok()?;
    io::Seek::rewind(file).ok()?;
    let text = String::from_utf8_lossy(&bytes).trim().to_owned();
    Some(text).filter(|text| text.starts_with("process "))
}

/// Tells what may be wrong with a lock: one that the file system does not know, or a file that a process of another
/// machine left, which may still run where the mount keeps locks to itself.
fn note(dir: &Path, locked: bool, before: Option<&str>) -> Option<String> {
    let dir = dir.display();
    let elsewhere = before.filter(|owner| !owner.ends_with(&format!(" on {}", host())));
    match (locked, elsewhere) {
        (false, _) => Some(format!(
            "the file system of `{dir}` has no locks: nothing keeps a second run out of it{}",
            before.map_or(String::new(), |owner| format!(" (the last was {owner})"))
        )),
        (true, Some(owner)) => Some(format!(
            "`{dir}` was last used by {owner}, which did not end in order; where it still runs, stop it: the lock may not \
             reach between machines"
        )),
        (true, None) => None,
    }
}

fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok();
    name.map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or("this machine".to_owned())
}

fn is_unsupported(error: &io::Error) -> bool {
    // ENOLCK: an NFS server without a lock daemon.
    const ENOLCK: i32 = 37;
    error.kind() == ErrorKind::Unsupported || error.raw_os_error() == Some(ENOLCK)
}

#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let same = |a: &fs::Metadata, b: &fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
    matches!((file.metadata(), fs::metadata(path)), (Ok(file), Ok(there)) if same(&file, &there))
}

#[cfg(not(unix))]
fn is_at(_: &File, path: &Path) -> bool {
    path.exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_owner_at_a_time_who_is_named() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("out");
        let lock = DirLock::acquire(&dir).unwrap();
        let error = DirLock::acquire(&dir).unwrap_err().to_string();
        assert!(error.contains(&format!("process {} on {}", std::process::id(), host())), "{error}");
        drop(lock);
        let lock = DirLock::acquire(&dir).unwrap();
        assert_eq!(lock.note(), None);
    }

    #[test]
    fn nothing_is_left_of_a_lock_and_files_of_a_run_stay() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("out");
        drop(DirLock::acquire(&dir).unwrap());
        assert!(!dir.exists());
        let lock = DirLock::acquire(&dir).unwrap();
        fs::write(dir.join("metrics.jsonl"), "{}").unwrap();
        drop(lock);
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
    }

    #[test]
    fn the_file_of_a_dead_process_does_not_block_and_another_machines_is_told() {
        let dir = tempfile::tempdir().unwrap();
        for (left, noted) in
            [(format!("process 4194305 on {}", host()), false), ("process 1 on elsewhere".into(), true)]
        {
            fs::write(dir.path().join(LOCK), &left).unwrap();
            let lock = DirLock::acquire(dir.path()).unwrap();
            assert_eq!(lock.note().is_some_and(|note| note.contains(&left)), noted);
        }
        fs::write(dir.path().join(LOCK), [0xFF; 400]).unwrap();
        assert_eq!(DirLock::acquire(dir.path()).unwrap().note(), None);
    }

    #[test]
    fn of_many_who_ask_at_once_one_gets_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let barrier = std::sync::Barrier::new(8);
        for _ in 0..20 {
            let owners: Vec<_> = std::thread::scope(|scope| {
                let ask = || {
                    barrier.wait();
                    let lock = DirLock::acquire(dir.path()).ok();
                    barrier.wait();
                    lock.is_some()
                };
                let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert_eq!(owners.iter().filter(|&&owner| owner).count(), 1);
        }
    }
}
