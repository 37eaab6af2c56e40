//! `cargo xtask faults`: kills, full disks, failing calls and damaged checkpoints, and the laws that hold in spite of them.

mod damage;
mod dice;
mod disturb;
mod preload;
mod programs;
mod report;
mod scene;
mod serving;
mod training;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use xtask::output::failed;

/// Injects faults into the programs and checks that nothing is lost
#[derive(Debug, Parser)]
#[command(name = "cargo xtask faults")]
struct Args {
    /// Runs that are killed or disturbed, of finetune, merge, generate --file and the server each
    #[arg(long, default_value_t = 12)]
    kills: u64,
    /// Seed of moments and kinds
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Directory of the programs
    #[arg(long)]
    bin: PathBuf,
    /// Root of the checkout, for its embedded model and records
    #[arg(long, default_value = ".")]
    root: PathBuf,
}

fn main() -> ExitCode {
    run(&Args::parse()).map_or_else(|error| failed(&error), |()| ExitCode::SUCCESS)
}

fn run(args: &Args) -> Result<()> {
    let absolute =
        |path: &PathBuf| std::fs::canonicalize(path).with_context(|| format!("no `{}`", path.display()));
    let scene = scene::Scene::new(absolute(&args.bin)?, absolute(&args.root)?)?;
    let mut report = report::Report::default();
    let expected = training::run_all(&scene, args.kills, args.seed, &mut report)?;
    // Each damage in a long run, every fifth in a short one.
    let every = if args.kills >= 100 { 1 } else { 5 };
    damage::run_all(&scene, &expected, every, &mut report)?;
    programs::merges(&scene, args.kills, args.seed, &mut report)?;
    programs::answers(&scene, args.kills, args.seed, &mut report)?;
    serving::serving(&scene, args.kills, args.seed, &mut report)?;
    report.finish()
}
