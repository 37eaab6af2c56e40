//! Directories that appear complete or not at all.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::WeightsError;
use crate::atomic_file::{folder, sibling, sync_folder, temporary_name, write_error};
use crate::in_work::InWork;

/// A directory that is filled under a temporary name beside its target (`.{name}.tmp-{pid}`) and takes its name once
/// all of it is on the disk. Dropped without [`AtomicDir::commit`], it is removed.
#[derive(Debug)]
pub struct AtomicDir {
    target: PathBuf,
    temporary: PathBuf,
    _in_work: InWork,
}

impl AtomicDir {
    /// Makes an empty directory that is to become `target`. Folders above it are made where they are missing; what an
    /// earlier process of the same id left of the same directory is removed.
    ///
    /// # Errors
    /// [`WeightsError::Write`] when the directory cannot be made.
    pub fn create(target: &Path) -> Result<Self, WeightsError> {
        let target = std::path::absolute(target).map_err(|source| write_error(target, 0, source))?;
        let temporary = temporary_name(&target);
        let make = || {
            fs::create_dir_all(folder(&target))?;
            remove(&temporary)?;
            settle(&sibling(&target, "old"), &target)?;
            let in_work = InWork::begin(&temporary)?;
            fs::create_dir(&temporary)?;
            Ok(in_work)
        };
        let in_work = make().map_err(|source| write_error(&target, 0, source))?;
        Ok(Self { target, temporary, _in_work: in_work })
    }

    /// Returns the directory for files until the commit.
    pub fn path(&self) -> &Path {
        &self.temporary
    }

    /// Brings every file to the disk and gives the directory its name.
    ///
    /// # Errors
    /// [`WeightsError::Exists`] when the name is taken, [`WeightsError::DiskFull`] or [`WeightsError::Write`] when the
    /// disk refuses.
    pub fn commit(self) -> Result<(), WeightsError> {
        if self.target.symlink_metadata().is_ok() {
            return Err(WeightsError::Exists { path: self.target.clone() });
        }
        let publish = || {
            sync_tree(&self.temporary)?;
            fs::rename(&self.temporary, &self.target)?;
            sync_folder(folder(&self.target))
        };
        publish().map_err(|source| write_error(&self.target, 0, source))
    }

    /// Commits in the place of a directory of that name.
    ///
    /// The old directory steps aside first (`.{name}.old-{pid}`). A process that dies between the two renames leaves
    /// it there; the next [`AtomicDir::create`] or [`AtomicDir::clean_stale`] puts it back.
    ///
    /// # Errors
    /// [`WeightsError::DiskFull`] or [`WeightsError::Write`] when the disk refuses.
    pub fn commit_replacing(self) -> Result<(), WeightsError> {
        let aside = sibling(&self.target, "old");
        let publish = || {
            sync_tree(&self.temporary)?;
            if self.target.symlink_metadata().is_ok() {
                remove(&aside)?;
                fs::rename(&self.target, &aside)?;
            }
            if let Err(failure) = fs::rename(&self.temporary, &self.target) {
                settle(&aside, &self.target)?;
                return Err(failure);
            }
            sync_folder(folder(&self.target))?;
            remove(&aside)
        };
        publish().map_err(|source| write_error(&self.target, 0, source))
    }

    /// Removes from the folder `parent` what crashed processes left there: names of exactly the form
    /// `.{name}.tmp-{pid}` whose process no longer runs, files of [`crate::atomic_write`] included. A directory that
    /// had stepped aside for its replacement is put back when the replacement never came. Returns the paths dealt with.
    ///
    /// Processes of other machines or containers are invisible here: a folder that several of them write to at once
    /// must not be cleaned.
    ///
    /// # Errors
    /// [`WeightsError::Read`] when the folder cannot be listed, [`WeightsError::Write`] when something cannot be
    /// removed.
    pub fn clean_stale(parent: &Path) -> Result<Vec<PathBuf>, WeightsError> {
        let read = |source| WeightsError::Read { path: parent.to_owned(), source };
        let parent = std::path::absolute(parent).map_err(read)?;
        let mut cleaned = Vec::new();
        for entry in fs::read_dir(&parent).map_err(read)? {
            let path = entry.map_err(read)?.path();
            let Some(leftover) = path.file_name().and_then(|name| Leftover::parse(name.to_str()?)) else {
                continue;
            };
            if is_running(leftover.pid) || InWork::has(&path) {
                continue;
            }
            let outcome = match leftover.aside_of {
                Some(name) => settle(&path, &parent.join(name)),
                None => remove(&path),
            };
            outcome.map_err(|source| write_error(&path, 0, source))?;
            cleaned.push(path);
        }
        Ok(cleaned)
    }
}

impl Drop for AtomicDir {
    fn drop(&mut self) {
        // After a commit nothing is left under this name. A failure here leaves rubbish, which `clean_stale` finds.
        let _ = remove(&self.temporary);
    }
}

/// A name that a process of this crate gives to unfinished work.
#[derive(Debug, PartialEq)]
struct Leftover<'a> {
    pid: u32,
    /// The name it had before it stepped aside.
    aside_of: Option<&'a str>,
}

impl<'a> Leftover<'a> {
    fn parse(file_name: &'a str) -> Option<Self> {
        let (head, pid) = file_name.strip_prefix('.')?.rsplit_once('-')?;
        let (name, tag) = head.rsplit_once('.')?;
        let digits = !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit());
        if name.is_empty() || !digits {
            return None;
        }
        let aside_of = match tag {
            "tmp" => None,
            "old" => Some(name),
            _ => return None,
        };
        Some(Self { pid: pid.parse().ok()?, aside_of })
    }
}

/// Tells whether another process of this id runs; taken to be so where that cannot be known.
fn is_running(pid: u32) -> bool {
    let proc = Path::new("/proc");
    pid != std::process::id() && (!proc.join("self").exists() || proc.join(pid.to_string()).exists())
}

/// Ends a replacement that was cut short: the directory that stepped aside returns if nothing took its place.
fn settle(aside: &Path, target: &Path) -> io::Result<()> {
    if aside.symlink_metadata().is_err() {
        return Ok(());
    }
    if target.symlink_metadata().is_ok() { remove(aside) } else { fs::rename(aside, target) }
}

/// Removes a file or a whole directory; nothing there is fine.
fn remove(path: &Path) -> io::Result<()> {
    let removed = match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(missing) => Err(missing),
    };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Brings all files below `dir`, and the directories themselves, to the disk.
fn sync_tree(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            sync_tree(&entry.path())?;
        } else if kind.is_file() {
            File::open(entry.path())?.sync_all()?;
        }
    }
    sync_folder(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Above Linux's largest process id (`PID_MAX_LIMIT`, 2^22).
    const DEAD: &str = "4194305";

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_directory_appears_at_commit_and_not_before() {
        let parent = tempfile::tempdir().unwrap();
        let target = parent.path().join("runs/checkpoint-10");
        let dir = AtomicDir::create(&target).unwrap();
        fs::write(dir.path().join("state.json"), "{}").unwrap();
        assert!(!target.exists());
        dir.commit().unwrap();
        assert_eq!(names(target.parent().unwrap()), ["checkpoint-10"]);
        assert_eq!(names(&target), ["state.json"]);
    }

    #[test]
    fn a_directory_that_is_dropped_leaves_nothing() {
        let parent = tempfile::tempdir().unwrap();
        let dir = AtomicDir::create(&parent.path().join("checkpoint-10")).unwrap();
        fs::create_dir(dir.path().join("nested")).unwrap();
        drop(dir);
        assert!(names(parent.path()).is_empty());
    }

    #[test]
    fn only_commit_replacing_takes_a_name_that_is_in_use() {
        let parent = tempfile::tempdir().unwrap();
        let target = parent.path().join("adapter");
        let build = |content: &str| {
            let dir = AtomicDir::create(&target).unwrap();
            fs::write(dir.path().join("f"), content).unwrap();
            dir
        };
        build("old").commit().unwrap();
        assert!(matches!(build("new").commit(), Err(WeightsError::Exists { .. })));
        assert_eq!(fs::read_to_string(target.join("f")).unwrap(), "old");
        build("new").commit_replacing().unwrap();
        assert_eq!(fs::read_to_string(target.join("f")).unwrap(), "new");
        assert_eq!(names(parent.path()), ["adapter"]);
    }

    #[test]
    fn cleaning_removes_the_work_of_dead_processes_and_nothing_else() {
        let parent = tempfile::tempdir().unwrap();
        let make = |name: &str| fs::create_dir(parent.path().join(name)).unwrap();
        let dead = format!(".checkpoint-10.tmp-{DEAD}");
        let kept =
            [".checkpoint-10.tmp-1x", ".tmp-5000000", "checkpoint-10.tmp-4194305", ".notes.bak-4194305"];
        make(&dead);
        for name in &kept {
            make(name);
        }
        let mine = AtomicDir::create(&parent.path().join("checkpoint-20")).unwrap();
        fs::write(parent.path().join(format!(".state.json.tmp-{DEAD}")), "{").unwrap();

        assert_eq!(AtomicDir::clean_stale(parent.path()).unwrap().len(), 2);
        let left = names(parent.path());
        assert_eq!(left.len(), kept.len() + 1);
        assert!(kept.iter().all(|name| left.iter().any(|other| other == name)));
        mine.commit().unwrap();
    }

    #[test]
    fn a_replacement_cut_short_is_undone() {
        let parent = tempfile::tempdir().unwrap();
        let aside = parent.path().join(format!(".adapter.old-{DEAD}"));
        fs::create_dir(&aside).unwrap();
        fs::write(aside.join("f"), "old").unwrap();
        AtomicDir::clean_stale(parent.path()).unwrap();
        assert_eq!(names(parent.path()), ["adapter"]);
        assert_eq!(fs::read_to_string(parent.path().join("adapter/f")).unwrap(), "old");
    }
}
