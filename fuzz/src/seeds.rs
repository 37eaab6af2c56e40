//! Inputs that are committed: those that once broke a law, and short ones that the fuzzer found to reach far.

use std::fs;
use std::path::{Path, PathBuf};

/// Returns the committed inputs of a target, with their paths: `inputs/TARGET/` of this crate.
///
/// # Panics
/// When one cannot be read.
pub fn committed(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("inputs").join(target);
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(&path).expect("a committed input"))).collect()
}

/// Includes golden files of the crates' tests, by their paths from `crates/`.
macro_rules! goldens {
    ($($path:literal),+ $(,)?) => {
        [$(include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/", $path)).as_slice()),+]
    };
}
pub(crate) use goldens;
