//! `cargo xtask load`: builds the programs, then runs the one in `benches/` with the same arguments.

#[path = "../../benches/src/server_load/args.rs"]
mod args;

use anyhow::Result;

pub(crate) use args::LoadArgs;

use xtask::process::run as run_command;
use xtask::setup;
use xtask::workspace::Workspace;

pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    setup::ensure(workspace)?;
    let bin = workspace.release_binaries()?;
    let arguments = std::env::args_os().skip(2);
    run_command(workspace.command(bin.join("bench-server")).args(arguments).env("BIN", &bin))
}
