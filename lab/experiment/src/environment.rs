//! The machine and the versions that results belong to.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use results::Environment;
use xtask::measure::cpu_name;
use xtask::process::probe;
use xtask::workspace::Workspace;

use super::digest;

/// Records the machine. `programs` and `data` are digests by name.
pub(crate) fn record(
    workspace: &Workspace,
    programs: &BTreeMap<String, String>,
    data: BTreeMap<String, String>,
) -> Environment {
    Environment {
        cpu: Some(cpu_name()),
        cores: Some(std::thread::available_parallelism().map_or(1, usize::from)),
        memory_gib: memory_gib(),
        gpu: line(
            workspace,
            "nvidia-smi",
            &["--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"],
        ),
        os: Some(os(workspace)),
        rustc: line(workspace, "rustc", &["-V"]),
        libtorch: libtorch(workspace),
        commit: commit(workspace),
        date: line(workspace, "date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"]),
        binary_sha256: programs.clone(),
        data_sha256: data,
    }
}

/// Computes the digests of programs by name; a program that is not there has none.
pub(crate) fn program_digests(bin: &Path, names: &[&str]) -> BTreeMap<String, String> {
    let digests =
        names.iter().filter_map(|name| Some(((*name).to_owned(), digest::of_path(&bin.join(name)).ok()?)));
    digests.collect()
}

/// Returns the first line that a command prints.
fn line(workspace: &Workspace, program: &str, args: &[&str]) -> Option<String> {
    let (true, text) = probe(workspace.command(program).args(args))? else { return None };
    text.lines().next().map(str::to_owned)
}

fn memory_gib() -> Option<f64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some((kib / f64::from(1 << 20) * 10.0).round() / 10.0)
}

fn os(workspace: &Workspace) -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let name = name.map_or(std::env::consts::OS, |name| name.trim_matches('"'));
    let kernel = line(workspace, "uname", &["-sr"]).unwrap_or_default();
    format!("{name}, {kernel}").trim_end_matches([',', ' ']).to_owned()
}

/// Returns PyTorch's version of the libtorch in use.
fn libtorch(workspace: &Workspace) -> Option<String> {
    let dir = workspace.users_libtorch().unwrap_or_else(|| workspace.own_libtorch());
    if let Ok(text) = fs::read_to_string(dir.join("build-version")) {
        return Some(text.trim().to_owned());
    }
    let text = fs::read_to_string(dir.join("version.py")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("__version__ = "))?;
    Some(line.trim_matches(['\'', '"']).to_owned())
}

/// Returns the commit, with a mark where the checkout has changes.
fn commit(workspace: &Workspace) -> Option<String> {
    let commit = line(workspace, "git", &["rev-parse", "HEAD"])?;
    let changed = line(workspace, "git", &["status", "--porcelain", "--untracked-files=no"]);
    Some(if changed.is_some() { format!("{commit} with changes") } else { commit })
}
