//! Small files that programs read and write.

use std::path::Path;

use anyhow::Result;
use serde::Serialize;
use weights::atomic_write;

/// Bytes of a text that is read as a whole.
pub(crate) const MAX_TEXT_BYTES: u64 = 4 << 30;

/// Writes `value` as JSON to `path`, where there is one.
///
/// # Errors
/// When the disk refuses.
pub(crate) fn write_json(path: Option<&Path>, value: &impl Serialize) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    let text = serde_json::to_string_pretty(value)?;
    Ok(atomic_write(path, |file| file.write_all(text.as_bytes()))?)
}
