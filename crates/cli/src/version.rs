//! `--version`: the program, its commit, and what it stands on.

use clap::Command;
use llama_finetune::Platform;

/// Returns the text of `--version`.
pub(crate) fn version(command: &Command) -> String {
    let number = command.get_version().unwrap_or_default();
    let commit = option_env!("LLAMA_FT_COMMIT").unwrap_or("not recorded in this build");
    format!("{} {number}\ncommit {commit}\n{}\n", command.get_name(), Platform::of_this_process())
}
