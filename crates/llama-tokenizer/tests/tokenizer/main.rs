//! Ids equal to those of sentencepiece, and files that are not what they should be.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod alpaca;
mod beside;
mod files;
mod parts;
mod special;
mod tiny;

use std::path::{Path, PathBuf};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(name)
}

/// Data that is not part of the repository; says so where it is absent.
fn shared(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(name);
    if !path.exists() {
        eprintln!("skipped: ../shared/data/{name} is absent");
        return None;
    }
    Some(path)
}
