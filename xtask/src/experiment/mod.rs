//! `cargo xtask experiment`: the lab's two tasks as reproducible experiments (docs/experiments.md).

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
mod results;
mod run_file;
#[cfg(test)]
mod scratch;
mod setting;
mod slices;
#[cfg(all(test, unix))]
mod tests;
mod training;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

pub(crate) use args::ExperimentArgs;

use self::programs::Programs;
use self::run_file::RunFile;
use self::setting::{PROGRAMS, Setting};
use crate::output::{note, say};
use crate::setup;
use crate::workspace::Workspace;

/// Where the committed run files are.
const RUN_FILES: &str = "xtask/experiments";

pub(crate) fn run(workspace: &Workspace, args: &ExperimentArgs) -> Result<()> {
    let file = find_run_file(workspace, &args.name)?;
    let (file, text) = RunFile::read(&file)?;
    let out = out_dir(workspace, args, &file)?;
    if args.report_only {
        if !out.join("results.jsonl").exists() {
            bail!("`{}` has no results.jsonl to report on", out.display());
        }
        return report::make(workspace, args, &out);
    }
    if args.dry_run {
        // Nothing is built: what there is of programs decides which cells are finished.
        let bin = workspace.prebuilt_binaries()?;
        let digests = environment::program_digests(&bin, &PROGRAMS);
        let setting = Setting::resolve(args, (file, text), &workspace.root, out, digests)?;
        return estimate::print(&setting);
    }
    setup::ensure(workspace)?;
    let bin = workspace.release_binaries()?;
    let digests = environment::program_digests(&bin, &PROGRAMS);
    if let Some(missing) = PROGRAMS.iter().find(|name| !digests.contains_key(**name)) {
        bail!("program `{missing}` is not in `{}`", bin.display());
    }
    let setting = Setting::resolve(args, (file, text), &workspace.root, out, digests)?;
    let programs = Programs::take(bin, workspace.root.clone(), &setting.out)?;
    let environment = environment::record(workspace, &setting.digests.programs, &setting.data_digests()?);
    describe::write(&setting, &environment, &command_line(args))?;
    let failed = engine::run(&setting, &programs)?;
    say(&format!("results: {}", setting.out.join("results.jsonl").display()));
    if !args.no_report {
        report::make(workspace, args, &setting.out)?;
    }
    if failed > 0 {
        bail!("{failed} cells failed; the same command tries them again and keeps the rest");
    }
    Ok(())
}

/// A committed run file by name, or one by path.
fn find_run_file(workspace: &Workspace, name: &str) -> Result<PathBuf> {
    let own = Path::new(name);
    if own.extension().is_some_and(|extension| extension == "toml") {
        return std::path::absolute(own).context("cannot resolve the run file");
    }
    let file = workspace.path(RUN_FILES).join(format!("{name}.toml"));
    if file.exists() {
        return Ok(file);
    }
    bail!("no experiment `{name}`; expected merge-compare, lora-vs-qlora or the path of a .toml file")
}

fn out_dir(workspace: &Workspace, args: &ExperimentArgs, file: &RunFile) -> Result<PathBuf> {
    if let Some(out) = &args.out {
        return std::path::absolute(out).context("cannot resolve --out");
    }
    let mut name = file.experiment.name().to_owned();
    if args.profile != "default" {
        name = format!("{name}-{}", args.profile);
    }
    Ok(workspace.path("target/experiments").join(name))
}

/// The command that runs this experiment again.
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
