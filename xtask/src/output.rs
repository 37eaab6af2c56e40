//! Output of the tasks.

use std::io::Write;
use std::process::ExitCode;

/// Writes a line of results to stdout; a reader that has gone away is no failure.
pub fn say(line: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

/// Writes a line about what is going on to stderr.
pub fn note(line: &str) {
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// Reports the error that ends a program, with its causes.
pub fn failed(error: &anyhow::Error) -> ExitCode {
    note(&format!("error: {error:#}"));
    ExitCode::FAILURE
}
