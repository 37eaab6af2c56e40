//! SHA-256 of files, of directories, and of what decides a result.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;
use sha2::{Digest, Sha256};

/// Returns the digest of bytes, in hex.
pub(crate) fn of_bytes(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Returns the digest of a value's JSON.
pub(crate) fn of_value(value: &impl Serialize) -> Result<String> {
    Ok(of_bytes(serde_json::to_string(value)?.as_bytes()))
}

/// Returns the digest of a file; for a directory that of names and digests of its files, hidden ones left out.
pub(crate) fn of_path(path: &Path) -> Result<String> {
    if !path.is_dir() {
        return of_file(path);
    }
    let mut lines = String::new();
    for file in files_in(path)? {
        let name = file.strip_prefix(path).unwrap_or(&file).to_string_lossy().into_owned();
        let _ = writeln!(lines, "{}  {name}", of_file(&file)?);
    }
    Ok(of_bytes(lines.as_bytes()))
}

/// Lists every file under a directory, in order of name, hidden ones left out.
pub(crate) fn files_in(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read `{}`", dir.display()))? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')) {
            continue;
        }
        if path.is_dir() { files.extend(files_in(&path)?) } else { files.push(path) }
    }
    files.sort_unstable();
    Ok(files)
}

/// Counts the bytes of a file, or of all files in a directory.
pub(crate) fn size_of(path: &Path) -> Result<u64> {
    let files = if path.is_dir() { files_in(path)? } else { vec![path.to_owned()] };
    let sizes = files.iter().map(|file| {
        Ok(fs::metadata(file).with_context(|| format!("cannot read `{}`", file.display()))?.len())
    });
    sizes.sum()
}

fn of_file(path: &Path) -> Result<String> {
    let cannot = || format!("cannot read `{}`", path.display());
    let mut file = File::open(path).with_context(cannot)?;
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer).with_context(cannot)? {
            0 => return Ok(hex(&hasher.finalize())),
            count => hasher.update(&buffer[..count]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_sha256() {
        // FIPS 180-4, the message "abc".
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(of_bytes(b"abc"), expected);
    }

    #[test]
    fn the_digest_of_a_directory_covers_names_and_contents() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        write("a", "abc");
        let one = of_path(dir.path()).unwrap();
        write(".hidden", "x");
        assert_eq!(of_path(dir.path()).unwrap(), one);
        write("a", "abd");
        let other = of_path(dir.path()).unwrap();
        assert_ne!(other, one);
        fs::rename(dir.path().join("a"), dir.path().join("b")).unwrap();
        assert_ne!(of_path(dir.path()).unwrap(), other);
        assert_eq!(size_of(dir.path()).unwrap(), 3);
    }
}
