//! `cargo xtask fake-cuda`: every program on a make-believe CUDA device, beside the same command on the CPU.

mod cases;
mod counts;
mod device;
mod memory;
mod messages;
mod on_a_gpu;
mod processes;
mod report;
mod same;
mod scene;
mod server;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use xtask::nvrtc;
use xtask::output::{failed, note};
use xtask::workspace::Workspace;

/// Runs every program on a make-believe CUDA device and compares it with the CPU
#[derive(Debug, Parser)]
#[command(name = "cargo xtask fake-cuda")]
struct Args {
    /// Parts of the names of those to run: cases, tests, sizes of memory, counts; all when none is named
    #[arg(value_name = "NAME")]
    only: Vec<String>,
    /// Run what takes minutes too: kernels in the emulator for whole evaluations, and more sizes of memory
    #[arg(long)]
    long: bool,
    /// Write the counts of docs/gpu.md anew, instead of holding the programs to them
    #[arg(long)]
    write_counts: bool,
    /// Directory of the programs
    #[arg(long)]
    bin: PathBuf,
}

fn main() -> ExitCode {
    run(&Args::parse()).map_or_else(|error| failed(&error), |()| ExitCode::SUCCESS)
}

fn run(args: &Args) -> Result<()> {
    let workspace = Workspace::find()?;
    let device = device::build(&workspace)?;
    let nvrtc = nvrtc::library(&workspace).inspect_err(|error| {
        note(&format!("skipped: the project's kernels, which NVRTC has to compile: {error:#}"));
    });
    let scene = scene::Scene::new(&workspace, &args.bin, &device, nvrtc.ok())?;
    let mut report = report::Report::new(&args.only);
    report.add("the device refuses what a GPU refuses", || device.selftest());
    on_a_gpu::run_all(&workspace, &scene, args.long, &mut report)?;
    cases::run_all(&scene, args.long, &mut report)?;
    server::run_all(&scene, &mut report);
    messages::run_all(&scene, &mut report);
    processes::run_all(&scene, &mut report);
    memory::run_all(&scene, args.long, &mut report);
    counts::run_all(&workspace, &scene, (args.long, args.write_counts), &mut report);
    report.finish()
}
