//! `cargo xtask test`: every test of the workspace.

use std::process::Command;

use anyhow::Result;
use clap::Args;

use xtask::output::note;
use xtask::process::{self, succeeds};
use xtask::setup;
use xtask::workspace::Workspace;

/// One thread for each test: several tests run at a time, and libtorch processes that fight for cores crawl.
const ONE_THREAD: [&str; 3] = ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"];

#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// For `cargo nextest run`, or `cargo test` where nextest is not installed
    #[arg(value_name = "ARGS", trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) runner_args: Vec<String>,
}

pub(crate) fn run(workspace: &Workspace, args: &TestArgs) -> Result<()> {
    setup::ensure(workspace)?;
    let packages_named = names_packages(&args.runner_args);
    let mut runner = workspace.cargo();
    if succeeds(workspace.cargo().args(["nextest", "--version"])) {
        runner.args(["nextest", "run"]);
    } else {
        note("cargo-nextest is not installed: cargo test runs the tests");
        runner.args(["test", "--lib", "--bins", "--tests"]);
    }
    if !packages_named {
        runner.arg("--workspace");
    }
    process::run(one_thread(runner.args(&args.runner_args)))?;
    if packages_named {
        note("examples in the documentation are run without -p only");
        return Ok(());
    }
    process::run(one_thread(workspace.cargo().args(["test", "--workspace", "--doc"])))
}

/// Checks for `-p`, which cargo ignores beside `--workspace`.
fn names_packages(args: &[String]) -> bool {
    args.iter().any(|arg| arg == "--package" || arg.starts_with("--package=") || (arg.starts_with("-p")))
}

fn one_thread(command: &mut Command) -> &mut Command {
    for name in ONE_THREAD.into_iter().filter(|name| std::env::var_os(name).is_none()) {
        command.env(name, "1");
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_named_in_any_spelling() {
        let named =
            |args: &[&str]| names_packages(&args.iter().map(|&arg| arg.to_owned()).collect::<Vec<_>>());
        assert!(named(&["-p", "lora"]) && named(&["-plora"]) && named(&["-j1", "--package=lora"]));
        assert!(!named(&["merging", "-j1", "--profile", "ci"]));
    }
}
