//! The digests of a directory's files, in a file beside them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::{Digest, WeightsError, atomic_write, read_text};

/// Name of the list. Its lines are those of `b3sum`: `b3sum --check B3SUMS` holds the files against it.
pub const DIGEST_LIST: &str = "B3SUMS";

/// Bytes of a list; real ones have a few lines.
const MAX_LIST_BYTES: u64 = 1 << 20;

/// Writes the list of all files in `dir`, as they are on the disk now.
///
/// # Errors
/// [`WeightsError::Read`] or [`WeightsError::Write`] when the disk refuses.
pub fn write_digests(dir: &Path) -> Result<(), WeightsError> {
    let mut lines = BTreeMap::new();
    for path in files(dir)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name != DIGEST_LIST {
            lines.insert(name, Digest::of_file(&path)?);
        }
    }
    atomic_write(&dir.join(DIGEST_LIST), |file| {
        lines.iter().try_for_each(|(name, digest)| writeln!(file, "{digest}  {name}"))
    })
}

/// Holds the files of `dir` against the list in it. Every file of weights there, and of those named in `also`, has to be in the
/// list, so that a list that was cut is noticed; others may lie beside them. Returns false where there is no list.
///
/// # Errors
/// [`WeightsError::Damaged`] for the first file that is missing or has another content, [`WeightsError::DigestList`] and
/// [`WeightsError::NotListed`] when the list itself is damaged.
pub fn check_digests(dir: &Path, also: &[&str]) -> Result<bool, WeightsError> {
    let path = dir.join(DIGEST_LIST);
    let text = match read_text(&path, MAX_LIST_BYTES) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(source) => return Err(WeightsError::Read { path, source }),
    };
    let mut listed = BTreeSet::new();
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let Some((digest, name)) = entry(line) else {
            return Err(WeightsError::DigestList { path, line: index + 1 });
        };
        listed.insert(name);
        let file = dir.join(name);
        if !file.is_file() {
            return Err(WeightsError::Damaged { path: file, actual: None, expected: digest });
        }
        let actual = Digest::of_file(&file)?;
        if actual != digest {
            return Err(WeightsError::Damaged { path: file, actual: Some(actual), expected: digest });
        }
    }
    for found in files(dir)? {
        let name = found.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_needed = name.ends_with(".safetensors") || also.contains(&&*name);
        if is_needed && !listed.contains(&*name) {
            return Err(WeightsError::NotListed { path, file: name });
        }
    }
    Ok(true)
}

/// Reads a line: a digest, two spaces, a plain file name, the end of the line.
fn entry(line: &str) -> Option<(Digest, &str)> {
    let (digest, name) = line.strip_suffix('\n')?.split_once("  ")?;
    let plain = !name.is_empty() && !name.contains(['/', '\\', '\0']) && name != "..";
    Some((digest.parse().ok()?, name)).filter(|_| plain)
}

fn files(dir: &Path) -> Result<Vec<PathBuf>, WeightsError> {
    let read = |source| WeightsError::Read { path: dir.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(read)? {
        let entry = entry.map_err(read)?;
        if entry.file_type().map_err(read)?.is_file() {
            files.push(entry.path());
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALSO: [&str; 1] = ["trainer_state.json"];

    /// Makes a directory with two files and their list.
    fn listed() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("adapter_model.safetensors"), [3; 100]).unwrap();
        std::fs::write(dir.path().join("trainer_state.json"), "{\"step\": 5}").unwrap();
        write_digests(dir.path()).unwrap();
        dir
    }

    #[test]
    fn files_as_they_were_pass_and_a_directory_without_a_list_is_told_apart() {
        let dir = listed();
        assert!(check_digests(dir.path(), &ALSO).unwrap());
        std::fs::write(dir.path().join("notes.txt"), "mine").unwrap();
        assert!(check_digests(dir.path(), &ALSO).unwrap());
        std::fs::remove_file(dir.path().join(DIGEST_LIST)).unwrap();
        assert!(!check_digests(dir.path(), &ALSO).unwrap());
    }

    /// The law behind resuming: whichever bit of whichever file is another, the directory is refused.
    #[test]
    fn any_flipped_bit_of_any_file_is_found_that_of_the_list_included() {
        let dir = listed();
        for file in files(dir.path()).unwrap() {
            let good = std::fs::read(&file).unwrap();
            for bit in (0..8 * good.len()).step_by(7) {
                let mut bad = good.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                std::fs::write(&file, bad).unwrap();
                assert!(check_digests(dir.path(), &ALSO).is_err(), "bit {bit} of {}", file.display());
            }
            std::fs::write(&file, &good).unwrap();
        }
        assert!(check_digests(dir.path(), &ALSO).unwrap());
    }

    #[test]
    fn a_list_that_is_cut_anywhere_is_found_between_lines_too() {
        let dir = listed();
        let list = dir.path().join(DIGEST_LIST);
        let whole = std::fs::read(&list).unwrap();
        for len in 0..whole.len() {
            std::fs::write(&list, &whole[..len]).unwrap();
            assert!(check_digests(dir.path(), &ALSO).is_err(), "{len} bytes of the list");
        }
    }

    #[test]
    fn a_file_that_is_gone_or_cut_is_named() {
        let dir = listed();
        let file = dir.path().join("adapter_model.safetensors");
        std::fs::write(&file, [3; 99]).unwrap();
        let error = check_digests(dir.path(), &ALSO).unwrap_err().to_string();
        assert!(error.contains("adapter_model.safetensors` is damaged, or `B3SUMS` beside it"), "{error}");
        std::fs::remove_file(&file).unwrap();
        let error = check_digests(dir.path(), &ALSO).unwrap_err().to_string();
        assert!(error.contains("adapter_model.safetensors` is missing"), "{error}");
    }
}
