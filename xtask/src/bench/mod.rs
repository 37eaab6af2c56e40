//! `cargo xtask bench`: what the README's figures come from.

mod decode;
mod load;
mod merge;
mod nf4;
mod side_by_side;
mod stats;
mod step;
mod tokenize;
mod train;
mod whole;

use anyhow::Result;
use clap::Subcommand;

use crate::process::run as run_command;
use crate::setup;
use crate::workspace::Workspace;

#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// Training on a CPU beside Python's transformers and peft, tokenising, and the loading of a 7B
    Train(train::TrainArgs),
    /// Decoding on a CPU beside Python's transformers, and beside what memory allows
    Decode(decode::DecodeArgs),
    /// Merging beside Python's `merge_and_unload` and a copy of the same bytes: time and private memory
    Merge(merge::MergeArgs),
    /// 4-bit and 8-bit products on a CPU beside bitsandbytes and torch
    Nf4(nf4::Nf4Args),
    /// Tests, kernels, the demo and a 7B-shaped run on a GPU (benches/gpu.sh, which needs no cargo; its settings are in its head)
    Gpu,
}

pub(crate) fn run(workspace: &Workspace, bench: &Bench) -> Result<()> {
    match bench {
        Bench::Train(args) => train::run(workspace, args),
        Bench::Decode(args) => decode::run(workspace, args),
        Bench::Merge(args) => merge::run(workspace, args),
        Bench::Nf4(args) => nf4::run(workspace, args),
        Bench::Gpu => {
            setup::ensure(workspace)?;
            let bin = workspace.release_binaries()?;
            // The tests that need a GPU; each says so where it is skipped.
            let tests = ["torch-ext", "qlora-nf4", "llama-model", "infer", "trainer"];
            let tests = tests.iter().flat_map(|package| ["-p", package]);
            let tests = ["test", "--release", "--lib", "--test", "optimizer_8bit"].into_iter().chain(tests);
            run_command(workspace.cargo().args(tests).args(["--", "--nocapture", "on_a_gpu_"]))?;
            run_command(workspace.command("bash").arg("benches/gpu.sh").env("BIN", bin))
        }
    }
}
