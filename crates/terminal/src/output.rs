//! Results on stdout, messages on stderr, and numbers as people read them.

use std::io::{ErrorKind, Write};
use std::sync::atomic::{AtomicUsize, Ordering};

use indicatif::{BinaryBytes, HumanCount};

/// Number of this process among several that share a terminal, and 0 for the one that speaks.
static RANK: AtomicUsize = AtomicUsize::new(0);

/// Makes this process, number `rank`, one of several of which number 0 speaks: what the others would print or say is dropped, but for
/// errors, which carry their number.
pub fn speak_as(rank: usize) {
    RANK.store(rank, Ordering::Relaxed);
}

fn is_silent() -> bool {
    RANK.load(Ordering::Relaxed) > 0
}

/// Writes an error to stderr as [`say`] does.
pub fn say_error(text: &str) {
    let rank = RANK.load(Ordering::Relaxed);
    let line = if rank > 0 { format!("error: [rank {rank}] {text}") } else { format!("error: {text}") };
    to_stderr(&line);
}

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
    if is_silent() {
        return Ok(());
    }
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
    if !is_silent() {
        to_stderr(line);
    }
}

fn to_stderr(line: &str) {
    let _ = std::io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}

/// Stderr for messages, as [`say`] writes them: no error ever comes of it.
#[derive(Debug, Clone, Copy)]
pub struct Messages;

impl Write for Messages {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if !is_silent() {
            let _ = std::io::stderr().lock().write_all(bytes);
        }
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
