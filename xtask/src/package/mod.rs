//! `cargo xtask package`: programs for machines without Rust, C++ and Python, as an archive and as a Python wheel.

mod archive;
mod built;
mod elf;
mod files;
mod libraries;
mod licences;
mod limits;
mod toolchain;
mod wheel;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use xtask::output::{note, say};
use xtask::process::run_to_stderr;
use xtask::setup;
use xtask::workspace::Workspace;

use built::Built;
use files::empty;

/// Arguments of `cargo xtask package`.
#[derive(Debug, Args)]
pub(crate) struct PackageArgs {
    /// Make the archive only
    #[arg(long, conflicts_with = "wheel")]
    archive: bool,
    /// Make the Python wheel only
    #[arg(long)]
    wheel: bool,
    /// Directory that they are written to [default: target/package]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Make nothing: check that the programs of this archive, wheel or directory run on glibc 2.28
    #[arg(long, value_name = "PATH", conflicts_with_all = ["archive", "wheel", "out"])]
    check: Option<PathBuf>,
}

pub(crate) fn run(workspace: &Workspace, args: &PackageArgs) -> Result<()> {
    let work = workspace.target_dir()?.join("package");
    if let Some(path) = &args.check {
        return check(workspace, path, &work.join("checked"));
    }
    if cfg!(not(all(target_os = "linux", target_arch = "x86_64"))) {
        bail!("packages are made on Linux on x86-64, for the same");
    }
    setup::ensure(workspace)?;
    let out = match &args.out {
        Some(out) => std::path::absolute(out).context("cannot resolve the directory of --out")?,
        None => work.clone(),
    };
    fs::create_dir_all(&out).with_context(|| format!("cannot create `{}`", out.display()))?;
    let built = build(workspace, &work)?;
    if !args.wheel {
        let name = format!("llama-finetuning-{}-x86_64-linux", env!("CARGO_PKG_VERSION"));
        let dir = empty(&work.join(&name))?;
        archive::lay_out(workspace, &built, &dir)?;
        limits::check(&dir, &[])?;
        let file = out.join(format!("{name}.tar.gz"));
        archive::pack(workspace, &dir, &file)?;
        said(&file)?;
    }
    if !args.archive {
        let file = out.join(wheel::file_name());
        wheel::write(workspace, &built, &file)?;
        check(workspace, &file, &work.join("checked"))?;
        said(&file)?;
    }
    Ok(())
}

/// Builds the programs and writes their manuals.
fn build(workspace: &Workspace, work: &Path) -> Result<Built> {
    let torch = workspace.users_libtorch().unwrap_or_else(|| workspace.own_libtorch());
    let torch = fs::canonicalize(&torch).with_context(|| format!("cannot find `{}`", torch.display()))?;
    let (program, writer) = toolchain::build(workspace)?;
    let manuals = empty(&work.join("manuals"))?;
    let mut writer = workspace.command(writer);
    run_to_stderr(writer.arg(&manuals).env("LD_LIBRARY_PATH", torch.join("lib")))?;
    Ok(Built { program, manuals, torch })
}

/// Checks what a package asks of a machine; an archive or a wheel is unpacked first.
fn check(workspace: &Workspace, path: &Path, scratch: &Path) -> Result<()> {
    let path = std::path::absolute(path).context("cannot resolve the path of --check")?;
    if path.is_dir() {
        return limits::check(&path, &[]);
    }
    let dir = empty(scratch)?;
    let mut beside: &[&str] = &[];
    if path.extension().is_some_and(|extension| extension == "whl") {
        wheel::unpack(&path, &dir)?;
        beside = &limits::OF_PYTORCH;
    } else {
        run_to_stderr(workspace.command("tar").arg("-xf").arg(&path).arg("--directory").arg(&dir))?;
    }
    limits::check(&dir, beside)?;
    fs::remove_dir_all(&dir).with_context(|| format!("cannot remove `{}`", dir.display()))
}

fn said(file: &Path) -> Result<()> {
    let len = fs::metadata(file).with_context(|| format!("cannot read `{}`", file.display()))?.len();
    note("");
    say(&format!("{} ({})", file.display(), get_libtorch::size(len)));
    Ok(())
}
