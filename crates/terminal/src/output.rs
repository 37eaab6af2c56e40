//! Results on stdout, messages on stderr, and numbers as people read them.

use std::io::{ErrorKind, Write};

use indicatif::{BinaryBytes, HumanCount};

/// Writes to stdout what a program says of a result that lies in files. Where it finds no reader, it is lost and nothing else.
pub fn print(text: &str) {
    let _ = write_stdout(text);
}

/// Writes to stdout the result itself.
///
/// # Errors
/// [`OutputError::ReaderGone`] when nobody reads any more, [`OutputError::Stdout`] for any other failure.
pub fn print_result(text: &str) -> Result<(), OutputError> {
    write_stdout(text).map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => OutputError::ReaderGone,
        _ => OutputError::Stdout(error),
    })
}

fn write_stdout(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// A result that could not be written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The reader has gone away, as in `generate … | head -1`: the end of a program, but no failure, and no word.
    #[error("nobody reads the output any more")]
    ReaderGone,
    /// A full disk, or whatever stdout is.
    #[error("cannot write to stdout")]
    Stdout(#[source] std::io::Error),
}

/// Writes a line to stderr. A message that finds no reader, or a full disk, is lost; it never ends a program.
pub fn say(line: &str) {
    let _ = std::io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}

/// Stderr for messages, as [`say`] writes them: no error ever comes of it.
#[derive(Debug, Clone, Copy)]
pub struct Messages;

impl Write for Messages {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let _ = std::io::stderr().lock().write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Formats `6738415616` as `6,738,415,616`.
pub fn count(number: i64) -> String {
    HumanCount(number.max(0) as u64).to_string()
}

/// Formats a number of bytes in the unit that suits it, such as `12.55 GiB`.
pub fn bytes(bytes: f64) -> String {
    BinaryBytes(bytes.max(0.0) as u64).to_string()
}
