//! Files that can be read to their end.

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

/// Reads a regular file of at most `limit` bytes as UTF-8.
///
/// # Errors
/// Those of [`open_regular`], and for a file that is longer or no text.
pub fn read_text(path: &Path, limit: u64) -> io::Result<String> {
    let mut text = String::new();
    open_regular(path)?.take(limit + 1).read_to_string(&mut text)?;
    if text.len() as u64 > limit {
        let expected = format!("it has more than {limit} bytes, the most that is read of such a file");
        return Err(io::Error::new(ErrorKind::InvalidData, expected));
    }
    Ok(text)
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
    fn a_text_longer_than_its_limit_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("text");
        std::fs::write(&path, "twelve bytes").unwrap();
        assert_eq!(read_text(&path, 12).unwrap(), "twelve bytes");
        assert!(read_text(&path, 11).unwrap_err().to_string().contains("more than 11 bytes"));
    }
}
