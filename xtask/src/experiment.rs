//! `cargo xtask experiment`: builds the programs, then builds and runs the one in `lab/` with the same arguments.

#[path = "../../lab/experiment/src/args.rs"]
mod args;

use std::process::ExitCode;

use anyhow::{Context, Result};

pub(crate) use args::ExperimentArgs;

use xtask::setup;
use xtask::workspace::Workspace;

/// The workspace of experiments and reports.
const MANIFEST: &str = "lab/Cargo.toml";

pub(crate) fn run(workspace: &Workspace, args: &ExperimentArgs) -> Result<ExitCode> {
    for task in args.tasks(&workspace.root) {
        task.run_file(&workspace.root)?;
    }
    let bin = if args.dry_run || args.report_only {
        // What there is of programs decides which cells are finished.
        workspace.prebuilt_binaries()?
    } else {
        setup::ensure(workspace)?;
        workspace.release_binaries()?
    };
    let mut command = workspace.cargo();
    command.args(["run", "--release", "--quiet", "-p", "experiment", "--manifest-path"]);
    command.arg(workspace.path(MANIFEST)).arg("--").args(std::env::args_os().skip(2)).env("BIN", bin);
    // Paths on the command line are seen from where the user is.
    command.current_dir(std::env::current_dir().context("cannot find the current directory")?);
    let status = command.status().context("cannot start cargo")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
