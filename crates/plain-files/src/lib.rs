//! Files of other programs that are read as a whole: regular ones, no longer than a limit, and no pointers of Git LFS.

use std::fs::{File, FileType};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

/// Opens a regular file. Anything else is refused before it is opened, since opening a named pipe waits for a writer.
///
/// # Errors
/// Those of the system, and one that says what `path` is.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let file_type = std::fs::metadata(path)?.file_type();
    if file_type.is_file() {
        return File::open(path);
    }
    Err(io::Error::new(ErrorKind::InvalidInput, format!("it is {}, not a regular file", describe(file_type))))
}

/// Reads a regular file of at most `limit` bytes.
///
/// # Errors
/// Those of [`open_regular`], and for a file that is longer, or a pointer of Git LFS.
pub fn read_bytes(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_regular(path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(wrong(format!("it has more than {limit} bytes, the most that is read of such a file")));
    }
    if is_lfs_pointer(&bytes) { Err(pointer()) } else { Ok(bytes) }
}

/// Reads a regular file of at most `limit` bytes as UTF-8.
///
/// # Errors
/// Those of [`read_bytes`], and for a file that is no text.
pub fn read_text(path: &Path, limit: u64) -> io::Result<String> {
    String::from_utf8(read_bytes(path, limit)?).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        wrong(format!("it is not UTF-8 text: the byte at {at} is wrong"))
    })
}

/// First bytes of the file that Git LFS writes in place of one it has not fetched.
pub const LFS_POINTER: &[u8] = b"version https://git-lfs";

/// Tells whether a file that begins so is a pointer of Git LFS.
pub fn is_lfs_pointer(beginning: &[u8]) -> bool {
    beginning.starts_with(LFS_POINTER)
}

/// Names a pointer of Git LFS that lies where a file should. One that cannot be read is for its reader to name.
///
/// # Errors
/// For a pointer alone.
pub fn refuse_lfs_pointer(path: &Path) -> io::Result<()> {
    let mut beginning = Vec::new();
    let read =
        open_regular(path).and_then(|file| file.take(LFS_POINTER.len() as u64).read_to_end(&mut beginning));
    if read.is_ok() && is_lfs_pointer(&beginning) { Err(pointer()) } else { Ok(()) }
}

fn pointer() -> io::Error {
    wrong("it is a Git LFS pointer, not the file itself: run `git lfs pull` where it was cloned".to_owned())
}

fn wrong(text: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, text)
}

fn describe(file_type: FileType) -> &'static str {
    if file_type.is_dir() {
        "a directory"
    } else if file_type.is_fifo() {
        "a named pipe"
    } else if file_type.is_char_device() || file_type.is_block_device() {
        "a device"
    } else if file_type.is_socket() {
        "a socket"
    } else {
        "something else"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_is_named_for_what_it_is_without_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for (path, what) in [
            (pipe.as_path(), "a named pipe"),
            (dir.path(), "a directory"),
            (Path::new("/dev/zero"), "a device"),
        ] {
            let error = read_text(path, 10).unwrap_err().to_string();
            assert_eq!(error, format!("it is {what}, not a regular file"));
        }
    }

    #[test]
    fn a_pointer_of_git_lfs_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokenizer.model");
        std::fs::write(&path, "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
            .unwrap();
        for error in [read_text(&path, 1000).map(|_| ()), refuse_lfs_pointer(&path)] {
            assert!(error.unwrap_err().to_string().contains("Git LFS pointer"));
        }
        std::fs::write(&path, b"\xff").unwrap();
        refuse_lfs_pointer(&path).unwrap();
        assert_eq!(read_bytes(&path, 1).unwrap(), b"\xff");
        assert!(read_text(&path, 1).unwrap_err().to_string().contains("the byte at 0"));
    }

    #[test]
    fn a_text_longer_than_its_limit_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("text");
        std::fs::write(&path, "twelve bytes").unwrap();
        assert_eq!(read_text(&path, 12).unwrap(), "twelve bytes");
        assert!(read_text(&path, 11).unwrap_err().to_string().contains("more than 11 bytes"));
    }
}
