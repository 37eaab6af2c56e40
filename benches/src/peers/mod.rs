//! Comparisons with the peers, and their bars.

mod bars;
mod busy;
mod decode;
mod decoding;
mod growth;
mod llama_cpp;
mod load;
mod merge;
mod models;
mod nf4;
mod setting;
mod side_by_side;
mod stats;
mod step;
mod tokenize;
mod train;
mod whole;
mod workbench;

use anyhow::Result;
use clap::{Parser, Subcommand};
use xtask::process::run as run_command;
use xtask::setup;
use xtask::workspace::Workspace;

/// Measure training, decoding or merging against Python, or on a GPU.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
pub struct BenchArgs {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// Training on a CPU beside Python's transformers and peft, tokenising, and the loading of a 7B
    Train(setting::TrainArgs),
    /// Decoding on a CPU beside Python's transformers or llama.cpp, and beside what memory allows
    Decode(decoding::DecodeArgs),
    /// Merging beside Python's `merge_and_unload` and a copy of the same bytes: time and private memory
    Merge(merge::MergeArgs),
    /// 4-bit and 8-bit products on a CPU beside bitsandbytes and torch
    Nf4(nf4::Nf4Args),
    /// Tests, kernels, the demo and a 7B-shaped run on a GPU (benches/gpu.sh, which needs no cargo; its settings are in its head)
    Gpu,
}

/// Runs the bench that `args` names.
///
/// # Errors
/// When a side fails, or a bar is missed.
pub fn run(args: &BenchArgs) -> Result<()> {
    let workspace = &Workspace::find()?;
    match &args.bench {
        Bench::Train(args) => train::run(workspace, args),
        Bench::Decode(args) => decode::run(workspace, args),
        Bench::Merge(args) => merge::run(workspace, args),
        Bench::Nf4(args) => nf4::run(workspace, args),
        Bench::Gpu => {
            setup::ensure(workspace)?;
            let bin = workspace.release_binaries()?;
            // The tests that need a GPU; each says so where it is skipped.
            let tests = ["torch-ext", "kernels", "llama-model", "infer", "trainer"];
            let tests = tests.iter().flat_map(|package| ["-p", package]);
            let tests = ["test", "--release", "--lib", "--test", "optimizer_8bit"].into_iter().chain(tests);
            run_command(workspace.cargo().args(tests).args(["--", "--nocapture", "on_a_gpu_"]))?;
            run_command(workspace.command("bash").arg("benches/gpu.sh").env("BIN", bin))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::CommandFactory;
    use xtask::flag_page;

    use super::*;

    #[test]
    fn flag_page_of_bench_matches_its_flags() {
        BenchArgs::command().debug_assert();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let introduction = "Run in the root of a clone. The peers' scripts are in `benches/`; figures are in \
                            [measurements](../measurements.md).";
        let page = flag_page::page(BenchArgs::command(), introduction, false);
        assert_eq!(flag_page::compare(root, "bench", &page), Ok(()));
    }

    #[test]
    fn flags_take_either_separator() {
        for flag in ["--with_7b", "--with-7b"] {
            let Bench::Train(args) = BenchArgs::parse_from(["bench", "train", flag]).bench else {
                panic!("another bench")
            };
            assert!(args.with_7b, "{flag}");
        }
    }
}
