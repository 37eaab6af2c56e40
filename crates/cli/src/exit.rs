//! How a program ends: 0 done, 1 the run failed, 2 a wrong flag or run file.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::process::ExitCode;

use checkpoint::CheckpointError;
use clap::Parser;
use llama_finetune::FinetuneError;
use nn_core::UnknownDtype;

use crate::flags::normalised;

/// The user asked for something that cannot be: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// A [`Usage`] error from a sentence.
pub fn usage(text: impl Into<String>) -> anyhow::Error {
    Usage(text.into()).into()
}

/// Checks for an error of the caller: a [`Usage`], or one that a library reports as such.
fn is_usage(error: &anyhow::Error) -> bool {
    error.is::<Usage>()
        || error.chain().any(|cause| {
            cause.downcast_ref::<CheckpointError>().is_some_and(CheckpointError::is_usage)
                || cause.downcast_ref::<FinetuneError>().is_some_and(FinetuneError::is_usage)
                || cause.is::<UnknownDtype>()
        })
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
            ExitCode::from(if is_usage(&error) { 2 } else { 1 })
        }
    }
}

/// The arguments of the process, for programs that parse them themselves.
pub fn arguments() -> impl Iterator<Item = OsString> {
    normalised(std::env::args_os())
}
