//! Data on stdout and in files, and numbers and sizes as people read them.

use std::io::{ErrorKind, Write};
use std::path::Path;

use anyhow::Result;
use indicatif::{BinaryBytes, HumanCount};
use serde::Serialize;
use weights::atomic_write;

/// Bytes of a text that is read as a whole.
pub(crate) const MAX_TEXT_BYTES: u64 = 4 << 30;

/// Writes to stdout what a program says of a result that lies in files. Where it finds no reader, it is lost and nothing else.
pub fn print(text: &str) {
    let _ = write_stdout(text);
}

/// Writes to stdout the result itself.
///
/// # Errors
/// [`ReaderGone`] when nobody reads any more, and any other failure as it is.
pub(crate) fn print_result(text: &str) -> Result<()> {
    write_stdout(text).map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => ReaderGone.into(),
        _ => anyhow::Error::new(error).context("cannot write to stdout"),
    })
}

fn write_stdout(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// The end of a program whose reader has gone away, as in `generate … | head -1`: no failure, and no word.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads the output any more")]
pub(crate) struct ReaderGone;

/// Writes a line to stderr. A message that finds no reader, or a full disk, is lost; it never ends a program.
pub(crate) fn say(line: &str) {
    let _ = std::io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}

/// Stderr for messages, as [`say`] writes them: no error ever comes of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Messages;

impl Write for Messages {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let _ = std::io::stderr().lock().write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Writes `value` as JSON to `path`, where there is one.
///
/// # Errors
/// When the disk refuses.
pub(crate) fn write_json(path: Option<&Path>, value: &impl Serialize) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    let text = serde_json::to_string_pretty(value)?;
    Ok(atomic_write(path, |file| file.write_all(text.as_bytes()))?)
}

/// Formats `6738415616` as `6,738,415,616`.
pub(crate) fn count(number: i64) -> String {
    HumanCount(number.max(0) as u64).to_string()
}

/// Formats a number of bytes in the unit that suits it, such as `12.55 GiB`.
pub(crate) fn bytes(bytes: f64) -> String {
    BinaryBytes(bytes.max(0.0) as u64).to_string()
}
