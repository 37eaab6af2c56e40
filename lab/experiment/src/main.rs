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
mod page_picture;
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
    let out = out_dir(&workspace.root, args)?;
    let tasks = args.tasks(&out);
    let failed: usize = if args.report_only {
        for ExperimentArgs { out, .. } in &tasks {
            if let Some(out) = out.as_ref().filter(|out| !out.join("results.jsonl").exists()) {
                bail!("`{}` has no results.jsonl to report on", out.display());
            }
        }
        0
    } else {
        // Every task is resolved before the first is measured.
        let settings = tasks.iter().map(|task| resolve(&workspace, task)).collect::<Result<Vec<_>>>()?;
        let failed = tasks.iter().zip(&settings).map(|(task, setting)| measure(&workspace, task, setting));
        failed.sum::<Result<usize>>()?
    };
    if !args.no_report && !args.dry_run {
        let results: Vec<&Path> = tasks.iter().filter_map(|task| task.out.as_deref()).collect();
        report::make(&workspace, args, &results, &out)?;
    }
    if failed > 0 {
        bail!("{failed} cells failed; the same command tries them again and keeps the rest");
    }
    Ok(())
}

fn resolve(workspace: &Workspace, args: &ExperimentArgs) -> Result<Setting> {
    let root = workspace.root.as_path();
    let run_file = RunFile::read(&args.run_file(root)?)?;
    let digests = environment::program_digests(&bin()?, &PROGRAMS);
    // What there is of programs decides which cells are finished, so a dry run looks at them, too.
    let missing = PROGRAMS.iter().find(|name| !digests.contains_key(**name));
    if let Some(missing) = missing.filter(|_| !args.dry_run) {
        bail!("program `{missing}` is not in `{}`", bin()?.display());
    }
    let out = args.out.clone().context("a task has a directory")?;
    Setting::resolve(args, run_file, root, out, digests)
}

fn bin() -> Result<PathBuf> {
    let bin = std::env::var_os("BIN")
        .context("BIN has to name the directory of the programs; `cargo xtask experiment` sets it")?;
    std::path::absolute(bin).context("cannot resolve BIN")
}

/// Runs the cells of an experiment that are not finished; how many failed.
fn measure(workspace: &Workspace, args: &ExperimentArgs, setting: &Setting) -> Result<usize> {
    if args.dry_run {
        estimate::print(setting)?;
        return Ok(0);
    }
    let programs = Programs::take(bin()?, workspace.root.clone(), &setting.out)?;
    let environment = environment::record(workspace, &setting.digests.programs, setting.data_digests()?);
    describe::write(setting, environment, &command_line(args))?;
    let failed = engine::run(setting, &programs)?;
    if setting.merges() {
        let made = setting.out.join(merging::ADAPTER);
        page_picture::take(setting, &programs, setting.lora_weights.as_ref().unwrap_or(&made));
    }
    say(&format!("results: {}", setting.out.join("results.jsonl").display()));
    Ok(failed)
}

/// Returns the directory of everything: `--out`, or one by the name of the experiment and the profile.
fn out_dir(root: &Path, args: &ExperimentArgs) -> Result<PathBuf> {
    if let Some(out) = &args.out {
        return std::path::absolute(out).context("cannot resolve --out");
    }
    let mut name = if args.is_lab() {
        args.name.clone()
    } else {
        RunFile::read(&args.run_file(root)?)?.0.experiment.name().to_owned()
    };
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
