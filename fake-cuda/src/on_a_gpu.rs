//! The workspace's own tests of GPUs, on the make-believe one.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use xtask::output::note;
use xtask::process::{capture, probe};
use xtask::workspace::Workspace;

use crate::report::Report;
use crate::scene::{Machine, Scene};

/// What such a test's name begins with.
const PREFIX: &str = "on_a_gpu_";
/// A crate whose kernels take minutes in the emulator, in the shapes of its tests: with `long` only, but for the fused passes.
const SLOW: &str = "kernels";
/// In the names of the tests of kernels that take seconds.
const QUICK: &str = "fused_pass";
/// A library whose tests set seeds, run backward passes, ask for CUDA and make graphs, in this order in one process.
const WHOLE: &str = "torch-ext";

/// The tests of one target.
#[derive(Debug)]
struct Binary {
    package: String,
    path: PathBuf,
    /// Tests whose name begins with [`PREFIX`].
    tests: Vec<String>,
}

/// Builds the tests as `cargo xtask test` does, and runs those that are for a GPU.
pub(crate) fn run_all(workspace: &Workspace, scene: &Scene, long: bool, report: &mut Report) -> Result<()> {
    let all = "every test of the library torch-ext, on one GPU";
    if !report.wants(PREFIX) && !report.wants(all) {
        return Ok(());
    }
    let binaries = binaries(workspace)?;
    ensure!(!binaries.is_empty(), "no test begins with {PREFIX}");
    for Binary { package, path, tests } in &binaries {
        for test in tests {
            let name = test.rsplit("::").next().unwrap_or(test);
            let of_kernels = package == SLOW && (name.contains("kernel") || name.contains(QUICK));
            if of_kernels && !(scene.has_kernels() && (long || name.contains(QUICK))) {
                note(&format!("skipped: {name}, which needs --long and NVRTC"));
                continue;
            }
            let machine = if of_kernels { Machine::Kernels } else { Machine::Gpus(1) };
            report.add(&format!("{name} ({package})"), || run(scene, path, &["--exact", test], machine));
        }
        if package == WHOLE {
            report.add(all, || run(scene, path, &["--test-threads", "1"], Machine::Gpus(1)));
        }
    }
    Ok(())
}

/// Runs tests of a binary; none of a GPU may skip itself.
fn run(scene: &Scene, path: &Path, args: &[&str], machine: Machine) -> Result<()> {
    let mut command = Command::new(path);
    command.args(args).arg("--nocapture");
    scene.see(&mut command, machine);
    let (passed, text) = probe(&mut command).context("cannot start the tests")?;
    ensure!(passed, "{text}");
    ensure!(text.contains("test result: ok. ") && !text.contains("ok. 0 passed"), "no test ran: {text}");
    ensure!(!text.contains(&format!("skipped: {PREFIX}")), "{text}");
    Ok(())
}

/// Builds the tests of the whole workspace, so that nothing is built twice, and lists those that have tests for a GPU.
fn binaries(workspace: &Workspace) -> Result<Vec<Binary>> {
    let mut build = workspace.cargo();
    build.args(["test", "--workspace", "--lib", "--tests", "--no-run", "--message-format", "json"]);
    let mut found = Vec::new();
    for line in capture(&mut build)?.lines() {
        let Ok(message) = serde_json::from_str::<Value>(line) else { continue };
        let (Some(path), Some(source)) =
            (message["executable"].as_str(), message["target"]["src_path"].as_str())
        else {
            continue;
        };
        let source = Path::new(source);
        let Some(package) = mentions(source).then(|| package(workspace, source)).flatten() else { continue };
        let (_, list) = probe(Command::new(path).arg("--list")).context("cannot list tests")?;
        let tests: Vec<String> = list
            .lines()
            .filter_map(|line| line.strip_suffix(": test"))
            .filter(|test| test.rsplit("::").next().is_some_and(|name| name.starts_with(PREFIX)))
            .map(str::to_owned)
            .collect();
        if !tests.is_empty() {
            found.push(Binary { package, path: path.into(), tests });
        }
    }
    Ok(found)
}

/// Tells if the target of this root file may have tests for a GPU: some source beside or below it names one.
fn mentions(source: &Path) -> bool {
    fn any(path: &Path) -> bool {
        if path.is_dir() {
            std::fs::read_dir(path).into_iter().flatten().flatten().any(|entry| any(&entry.path()))
        } else {
            path.extension().is_some_and(|extension| extension == "rs")
                && std::fs::read_to_string(path).is_ok_and(|text| text.contains(&format!("fn {PREFIX}")))
        }
    }
    source.parent().is_some_and(any)
}

/// Returns the crate that a file is of.
fn package(workspace: &Workspace, source: &Path) -> Option<String> {
    let relative = source.strip_prefix(workspace.path("crates")).ok()?;
    Some(relative.components().next()?.as_os_str().to_string_lossy().into_owned())
}
