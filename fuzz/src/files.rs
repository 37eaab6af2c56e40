//! Files that readers are given: in memory where the system has a file system there.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use tempfile::TempDir;

/// A directory of this process.
static HOME: LazyLock<TempDir> = LazyLock::new(|| {
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    tempfile::Builder::new().prefix("fuzz-").tempdir_in(parent).expect("a directory for inputs")
});

/// Makes the directory `name` anew, with these files.
pub(crate) fn directory(name: &str, files: &[(&str, &[u8])]) -> PathBuf {
    let dir = HOME.path().join(name);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).expect("a directory for an input");
    for (file, bytes) in files {
        fs::write(dir.join(file), bytes).expect("a file for an input");
    }
    dir
}

/// Puts before each file but the first of an input of several files.
const MARK: &[u8] = b"\n=====\n";

/// Cuts an input into the files of these names; what is left out, or has nothing in it, is not there.
pub(crate) fn parts<'a, const N: usize>(input: &'a [u8], names: [&'a str; N]) -> Vec<(&'a str, &'a [u8])> {
    let mut rest = Some(input);
    let mut files = Vec::new();
    for (index, name) in names.into_iter().enumerate() {
        let Some(bytes) = rest else { break };
        let cut = bytes.windows(MARK.len()).position(|window| window == MARK).filter(|_| index + 1 < N);
        let (file, after) = match cut {
            Some(at) => (&bytes[..at], Some(&bytes[at + MARK.len()..])),
            None => (bytes, None),
        };
        if index == 0 || !file.is_empty() {
            files.push((name, file));
        }
        rest = after;
    }
    files
}

/// Joins files to one input, as [`parts`] cuts it.
pub(crate) fn joined(files: &[&[u8]]) -> Vec<u8> {
    files.join(MARK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_joined_is_cut_into_the_same_files() {
        let input = joined(&[b"one", b"", b"three\n"]);
        assert_eq!(parts(&input, ["a", "b", "c"]), [("a", &b"one"[..]), ("c", &b"three\n"[..])]);
        assert_eq!(parts(b"", ["a", "b"]), [("a", &b""[..])]);
    }
}
