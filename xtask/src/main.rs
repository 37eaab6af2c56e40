//! `cargo xtask`: set-up, checks, tests, demo, benches, experiments and goldens of the workspace.
//!
//! It links no libtorch, since fetching that is its first task.

mod arrows;
mod book;
mod check;
mod circles;
mod demo;
mod demo_report;
#[cfg(test)]
mod excerpts;
mod experiment;
mod fuzz;
mod goldens;
mod kernels;
mod load;
mod neon;
mod package;
mod test;
mod tiny_model;
mod unsafe_list;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use xtask::workspace::Workspace;
use xtask::{process, setup};

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
    /// Formatting, lints, crate arrows, circles of files, the book's links and examples, documentation, licences
    Check,
    /// Compile every CUDA kernel for the generations of GPUs they are for; fetches NVIDIA's compiler (90 MB), needs no GPU
    Kernels,
    /// Compile the NEON kernels and run their tests in an emulator (qemu-aarch64); adds a target to the Rust toolchain (27 MB)
    Neon,
    /// Remake datasets/tiny-llama: corpus, tokenizer, records, pre-training
    #[command(name = "tiny-model")]
    TinyModel,
    /// Measure training, decoding or merging against Python, or on a GPU (`bench --help` lists the benches)
    #[command(disable_help_flag = true)]
    Bench(BenchArgs),
    /// Kill and disturb the programs at random moments, damage checkpoints, and check that nothing is lost
    #[command(disable_help_flag = true)]
    Faults(HarnessArgs),
    /// Run every program on a make-believe CUDA device, and compare with the CPU; needs no GPU
    #[command(name = "fake-cuda", disable_help_flag = true)]
    FakeCuda(HarnessArgs),
    /// Compare ways of merging, or LoRA with QLoRA, and write a report
    Experiment(Box<experiment::ExperimentArgs>),
    /// Drive the server with many clients, some of which misbehave: latency, errors, memory
    Load(load::LoadArgs),
    /// Mutate the inputs of every reader of foreign bytes, and look for panics, endless work and memory without bound
    Fuzz(fuzz::FuzzArgs),
    /// Make an archive and a Python wheel of the programs, for machines without Rust, C++ and Python
    Package(package::PackageArgs),
    /// Remake the golden files of the tests, or check that they can be remade
    Goldens(goldens::GoldensArgs),
}

/// Arguments of `bench`, a program of its own since it links libtorch.
#[derive(Debug, Args)]
struct BenchArgs {
    /// Bench and its flags
    #[arg(value_name = "ARGS", trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

/// Arguments of `faults` and `fake-cuda`, programs of their own.
#[derive(Debug, Args)]
struct HarnessArgs {
    /// Its flags, which `--help` lists
    #[arg(value_name = "ARGS", trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

fn main() -> ExitCode {
    let task = Cli::parse().task;
    run(task).unwrap_or_else(|error| xtask::output::failed(&error))
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
        Task::Bench(args) => done(bench(&workspace, &args)),
        Task::Faults(args) => done(harness(&workspace, "faults", &args)),
        Task::FakeCuda(args) => done(harness(&workspace, "fake-cuda", &args)),
        Task::Experiment(args) => experiment::run(&workspace, &args),
        Task::Load(_) => done(load::run(&workspace)),
        Task::Fuzz(args) => done(fuzz::run(&workspace, &args)),
        Task::Package(args) => done(package::run(&workspace, &args)),
        Task::Goldens(args) => done(goldens::run(&workspace, &args)),
    }
}

fn bench(workspace: &Workspace, args: &BenchArgs) -> anyhow::Result<()> {
    setup::ensure(workspace)?;
    let program = workspace.release_binaries()?.join("bench");
    process::run(workspace.command(program).args(&args.args))
}

/// Runs a harness on the programs that the tests use; on those of a prebuilt directory where `BIN` names one.
fn harness(workspace: &Workspace, name: &str, args: &HarnessArgs) -> anyhow::Result<()> {
    setup::ensure(workspace)?;
    let target = workspace.target_dir()?.join("debug");
    let bin = std::env::var_os("BIN").map(std::path::PathBuf::from);
    if bin.is_none() {
        process::run_to_stderr(workspace.cargo().args(["build", "--package", "cli", "--bins"]))?;
    }
    process::run_to_stderr(workspace.cargo().args(["build", "--package", name]))?;
    let mut command = workspace.command(target.join(name));
    process::run(command.arg("--bin").arg(bin.unwrap_or(target)).args(&args.args))
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
        let page = xtask::flag_page::page(Cli::command(), introduction, false);
        assert_eq!(xtask::flag_page::compare(root, "xtask", &page), Ok(()));
    }

    #[test]
    fn arguments_of_test_reach_the_runner_unchanged() {
        let Task::Test(args) = Cli::parse_from(["xtask", "test", "-p", "lora", "--no-fail-fast"]).task else {
            panic!("another task")
        };
        assert_eq!(args.runner_args, ["-p", "lora", "--no-fail-fast"]);
    }

    #[test]
    fn a_wrong_flag_is_a_usage_error() {
        let error = Cli::try_parse_from(["xtask", "setup", "--gpu"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
    }
}
