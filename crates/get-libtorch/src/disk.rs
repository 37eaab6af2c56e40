//! Room on a disk.

use std::path::Path;

/// Returns the bytes that an ordinary user may still write to the disk of a directory, or of its nearest parent that exists.
/// `None` where the system does not say.
pub fn free_space(dir: &Path) -> Option<u64> {
    let existing = dir.ancestors().find(|dir| dir.exists())?;
    let disk = rustix::fs::statvfs(existing).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_not_there_yet_has_the_room_of_its_parent() {
        let dir = tempfile::tempdir().unwrap();
        assert!(free_space(dir.path()).is_some_and(|bytes| bytes > 0));
        assert!(free_space(&dir.path().join("not/yet")).is_some());
    }
}
