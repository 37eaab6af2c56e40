//! `cargo xtask`: set-up, checks, tests, demo, benches, experiments and goldens of the workspace.
//!
//! It links no libtorch, since fetching that is its first task.

mod arrows;
mod bench;
mod book;
mod check;
mod demo;
mod demo_report;
#[cfg(test)]
mod excerpts;
mod experiment;
#[cfg(test)]
#[path = "../../crates/cli/src/flag_page.rs"]
mod flag_page;
mod goldens;
mod kernels;
mod libtorch;
mod neon;
mod output;
mod process;
mod programs;
mod python;
mod setup;
mod test;
mod tiny_model;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "Set-up, checks, tests, demo and benches of the workspace"
)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Install libtorch into .libtorch/, or check the one that LIBTORCH names
    Setup(setup::SetupArgs),
    /// Fine-tune the embedded model and show its answers and accuracy before and after
    Demo,
    /// Run every test; arguments go to the test runner
    Test(test::TestArgs),
    /// Formatting, lints, crate arrows, the book's links and examples, documentation, licences
    Check,
    /// Compile every CUDA kernel for the generations of GPUs they are for; fetches NVIDIA's compiler (90 MB), needs no GPU
    Kernels,
    /// Compile the NEON kernels and run their tests in an emulator (qemu-aarch64); adds a target to the Rust toolchain (27 MB)
    Neon,
    /// Remake datasets/tiny-llama: corpus, tokenizer, records, pre-training
    #[command(name = "tiny-model")]
    TinyModel,
    /// Measure training or merging against Python, or on a GPU
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Compare ways of merging, or LoRA with QLoRA, and write a report
    Experiment(experiment::ExperimentArgs),
    /// Remake the golden files of the tests, or check that they can be remade
    Goldens(goldens::GoldensArgs),
}

fn main() -> ExitCode {
    let task = Cli::parse().task;
    match run(task) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> anyhow::Result<ExitCode> {
    let workspace = Workspace::find()?;
    let done = |result: anyhow::Result<()>| result.map(|()| ExitCode::SUCCESS);
    match task {
        Task::Setup(args) => done(setup::run(&workspace, &args)),
        Task::Demo => done(demo::run(&workspace)),
        Task::Test(args) => done(test::run(&workspace, &args)),
        Task::Check => check::run(&workspace),
        Task::Kernels => done(kernels::run(&workspace)),
        Task::Neon => done(neon::run(&workspace)),
        Task::TinyModel => done(tiny_model::run(&workspace)),
        Task::Bench(args) => done(bench::run(&workspace, &args)),
        Task::Experiment(args) => experiment::run(&workspace, &args),
        Task::Goldens(args) => done(goldens::run(&workspace, &args)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flag_page_of_xtask_is_what_it_takes() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let introduction =
            "Run in the root of a clone, as `cargo xtask COMMAND`. `--help` prints the flags of a command.";
        let page = flag_page::page(Cli::command(), introduction, false);
        assert_eq!(flag_page::compare(root, "xtask", &page), Ok(()));
    }

    #[test]
    fn arguments_of_test_reach_the_runner_untouched() {
        let Task::Test(args) = Cli::parse_from(["xtask", "test", "-p", "lora", "--no-fail-fast"]).task else {
            panic!("another task")
        };
        assert_eq!(args.runner_args, ["-p", "lora", "--no-fail-fast"]);
    }

    #[test]
    fn a_flag_is_taken_with_either_separator() {
        for flag in ["--with_7b", "--with-7b"] {
            let Task::Bench(bench::Bench::Train(args)) =
                Cli::parse_from(["xtask", "bench", "train", flag]).task
            else {
                panic!("another task")
            };
            assert!(args.with_7b, "{flag}");
        }
    }

    #[test]
    fn a_wrong_flag_is_a_usage_error() {
        let error = Cli::try_parse_from(["xtask", "setup", "--gpu"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
    }
}
