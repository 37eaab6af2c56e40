//! Data on stdout and in files, and numbers and sizes as people read them.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use indicatif::{BinaryBytes, HumanCount};
use serde::Serialize;

/// Bytes of a text that is read as a whole.
pub(crate) const MAX_TEXT_BYTES: u64 = 4 << 30;

/// Writes data to stdout; a reader that has gone away is no failure.
pub fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// Writes `value` as JSON to `path`, where there is one.
///
/// # Errors
/// When the disk refuses.
pub(crate) fn write_json(path: Option<&Path>, value: &impl Serialize) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    let text = serde_json::to_string_pretty(value)?;
    std::fs::write(path, text).with_context(|| format!("cannot write `{}`", path.display()))
}

/// Formats `6738415616` as `6,738,415,616`.
pub(crate) fn count(number: i64) -> String {
    HumanCount(number.max(0) as u64).to_string()
}

/// Formats a number of bytes in the unit that suits it, such as `12.55 GiB`.
pub(crate) fn bytes(bytes: f64) -> String {
    BinaryBytes(bytes.max(0.0) as u64).to_string()
}
