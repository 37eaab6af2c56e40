//! The end of a program: exit code 0 when done, 1 when the run failed, 2 for a wrong flag, run file or input, 3 for a plan that does not
//! fit.

use std::error::Error;
use std::ffi::OsString;
use std::process::ExitCode;

use alpaca_data::DataError;
use checkpoint::CheckpointError;
use clap::error::ErrorKind;
use clap::{Command, Parser};
use llama_finetune::{FinetuneError, GroupError};
use nn_core::UnknownDtype;
use terminal::{OutputError, normalised, print_result, say_error, survive_file_size_limit, trimmed};
use trainer::TrainError;

use crate::advice::advice;
use crate::help::command_after;
use crate::messages;
use crate::usage::{DoesNotFit, Told, Usage};
use crate::version::version;

/// Allocates libtorch's tensors too. The C library's heap keeps holes between those of steps of different lengths.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Makes a [`Usage`] error from a sentence.
pub(crate) fn usage(text: impl Into<String>) -> anyhow::Error {
    Usage(text.into()).into()
}

/// Runs a program with the command line of this process.
pub fn main_with<Args: Parser>(run: impl FnOnce(Args) -> anyhow::Result<()>) -> ExitCode {
    main_from("", std::env::args_os(), run)
}

/// Parses a command line in both spellings (`--base_model`, `--base-model`), runs the program, and reports a failure once, on
/// stderr. Before the program's name, `prefix` is typed.
pub(crate) fn main_from<Args: Parser>(
    prefix: &str,
    args: impl IntoIterator<Item = OsString>,
    run: impl FnOnce(Args) -> anyhow::Result<()>,
) -> ExitCode {
    let mut command = command_after::<Args>(prefix);
    let (args, notes) = trimmed(normalised(args.into_iter()), &command);
    let parsed = command.try_get_matches_from_mut(args);
    let (args, matches) = match parsed.and_then(|matches| Ok((Args::from_arg_matches(&matches)?, matches))) {
        Ok(parsed) => parsed,
        Err(error) => return refuse(&error.format(&mut command), &command),
    };
    messages::start(&matches);
    survive_file_size_limit();
    for note in notes {
        tracing::info!("{note}");
    }
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if matches!(error.downcast_ref(), Some(OutputError::ReaderGone)) => ExitCode::SUCCESS,
        Err(error) => {
            if !error.is::<Told>() {
                let advice =
                    advice(&error, &command).map_or_else(String::new, |advice| format!("; {advice}"));
                say_error(&format!("{error:#}{advice}"));
            }
            ExitCode::from(exit_code(&error))
        }
    }
}

/// Returns the exit code of a failure.
pub(crate) fn exit_code(error: &anyhow::Error) -> u8 {
    match error.downcast_ref() {
        Some(&Told(code)) => code,
        None if error.is::<DoesNotFit>() => 3,
        None => 1 + u8::from(error.chain().any(is_usage)),
    }
}

/// Reports a command line that cannot be parsed; a value that a type of ours refuses in that type's words, as in a run file.
pub(crate) fn refuse(error: &clap::Error, command: &Command) -> ExitCode {
    match error.source() {
        Some(source) if error.kind() == ErrorKind::ValueValidation && is_usage(source) => {
            say_error(&source.to_string());
        }
        None if error.kind() == ErrorKind::DisplayVersion => {
            let _ = print_result(&version(command));
        }
        // Help is printed to stdout and is no failure.
        _ => {
            let _ = error.print();
        }
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// Checks for a mistake of the caller: a [`Usage`], or an error that a library reports as one.
fn is_usage(error: &(dyn Error + 'static)) -> bool {
    error.is::<Usage>()
        || error.is::<UnknownDtype>()
        || error.downcast_ref::<DataError>().is_some_and(DataError::is_usage)
        || error.downcast_ref::<TrainError>().is_some_and(TrainError::is_usage)
        || error.downcast_ref::<GroupError>().is_some_and(GroupError::is_usage)
        || error.downcast_ref::<CheckpointError>().is_some_and(CheckpointError::is_usage)
        || error.downcast_ref::<FinetuneError>().is_some_and(FinetuneError::is_usage)
}
