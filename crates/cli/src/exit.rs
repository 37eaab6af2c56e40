//! How a program ends: 0 done, 1 the run failed, 2 a wrong flag or run file.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;

use crate::flags::normalised;

/// The user asked for something that cannot be: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// A [`Usage`] error from a sentence.
pub fn usage(text: impl Into<String>) -> anyhow::Error {
    Usage(text.into()).into()
}

/// Parses the command line in both spellings (`--base_model`, `--base-model`), runs the program, and reports a failure
/// once, on stderr.
pub fn main_with<Args: Parser>(run: impl FnOnce(Args) -> anyhow::Result<()>) -> ExitCode {
    let args = match Args::try_parse_from(normalised(std::env::args_os())) {
        Ok(args) => args,
        Err(error) => {
            // Help and version are printed to stdout and are no failure.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    tracing_subscriber::fmt()
        .without_time()
        .with_target(false)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_max_level(tracing::Level::INFO)
        .init();
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            let wrong_use = error.downcast_ref::<Usage>().is_some();
            ExitCode::from(if wrong_use { 2 } else { 1 })
        }
    }
}

/// The arguments of the process, for programs that parse them themselves.
pub fn arguments() -> impl Iterator<Item = OsString> {
    normalised(std::env::args_os())
}
