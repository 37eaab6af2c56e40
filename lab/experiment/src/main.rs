//! `cargo xtask experiment`, which builds the programs, calls this one with the same arguments: two
//! reproducible experiments (docs/experiments.md). `BIN` names the directory of the programs.

mod answers;
mod args;
mod describe;
mod digest;
mod engine;
mod environment;
mod estimate;
mod finetuning;
mod matrix;
mod merging;
mod programs;
mod report;

mod run_file;
mod setting;
mod slices;
mod store;
#[cfg(all(test, unix))]
mod tests;
mod training;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;
use xtask::output::{note, say};
use xtask::workspace::Workspace;

use self::args::ExperimentArgs;
use self::programs::Programs;
use self::run_file::RunFile;
use self::setting::{PROGRAMS, Setting};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask experiment")]
struct Cli {
    #[command(flatten)]
    args: ExperimentArgs,
}

fn main() -> ExitCode {
    match run(&Cli::parse().args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &ExperimentArgs) -> Result<()> {
    let workspace = Workspace::find()?;
    let root = workspace.root.as_path();
    let (file, text) = RunFile::read(&args.run_file(root)?)?;
    let out = out_dir(root, args, &file)?;
    if args.report_only {
        if !out.join("results.jsonl").exists() {
            bail!("`{}` has no results.jsonl to report on", out.display());
        }
        return report::make(&workspace, args, &out);
    }
    let bin = std::env::var_os("BIN")
        .context("BIN has to name the directory of the programs; `cargo xtask experiment` sets it")?;
    let bin = std::path::absolute(bin).context("cannot resolve BIN")?;
    let digests = environment::program_digests(&bin, &PROGRAMS);
    if args.dry_run {
        // What there is of programs decides which cells are finished.
        let setting = Setting::resolve(args, (file, text), root, out, digests)?;
        return estimate::print(&setting);
    }
    if let Some(missing) = PROGRAMS.iter().find(|name| !digests.contains_key(**name)) {
        bail!("program `{missing}` is not in `{}`", bin.display());
    }
    let setting = Setting::resolve(args, (file, text), root, out, digests)?;
    let programs = Programs::take(bin, root.to_owned(), &setting.out)?;
    let environment = environment::record(&workspace, &setting.digests.programs, setting.data_digests()?);
    describe::write(&setting, environment, &command_line(args))?;
    let failed = engine::run(&setting, &programs)?;
    say(&format!("results: {}", setting.out.join("results.jsonl").display()));
    if !args.no_report {
        report::make(&workspace, args, &setting.out)?;
    }
    if failed > 0 {
        bail!("{failed} cells failed; the same command tries them again and keeps the rest");
    }
    Ok(())
}

fn out_dir(root: &Path, args: &ExperimentArgs, file: &RunFile) -> Result<PathBuf> {
    if let Some(out) = &args.out {
        return std::path::absolute(out).context("cannot resolve --out");
    }
    let mut name = file.experiment.name().to_owned();
    if args.profile != "default" {
        name = format!("{name}-{}", args.profile);
    }
    Ok(root.join("target/experiments").join(name))
}

/// Returns the command that runs this experiment again.
fn command_line(args: &ExperimentArgs) -> String {
    let mut line = format!("cargo xtask experiment {}", args.name);
    let mut flag = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            let _ = write!(line, " --{name} {value}");
        }
    };
    let list = |values: &[String]| (!values.is_empty()).then(|| values.join(","));
    let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
    flag("profile", (args.profile != "default").then(|| args.profile.clone()));
    flag("base_model", args.base_model.clone());
    flag("data_path", path(&args.data_path));
    flag("lora_weights", path(&args.lora_weights));
    flag("sizes", list(&args.sizes.iter().map(usize::to_string).collect::<Vec<_>>()));
    flag("seeds", list(&args.seeds.iter().map(u64::to_string).collect::<Vec<_>>()));
    flag("repeats", args.repeats.map(|repeats| repeats.to_string()));
    flag("only", list(&args.only));
    flag("threads", args.threads.map(|threads| threads.to_string()));
    if args.planted {
        line.push_str(" --planted");
    }
    note(&format!("$ {line}"));
    line
}
