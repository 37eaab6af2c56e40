//! The machine and the versions that results belong to.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::digest;

/// What is recorded of the machine. `programs` and `data` are digests by name.
pub(crate) fn record(
    root: &Path,
    programs: &BTreeMap<String, String>,
    data: &BTreeMap<String, String>,
) -> Value {
    json!({
        "cpu": cpu_name(),
        "cores": std::thread::available_parallelism().map_or(1, usize::from),
        "memory_gib": memory_gib(),
        "gpu": gpu(root),
        "os": os(root),
        "rustc": line(root, "rustc", &["-V"]),
        "libtorch": libtorch(root),
        "commit": commit(root),
        "date": line(root, "date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"]),
        "binary_sha256": programs,
        "data_sha256": data,
    })
}

/// Digests of programs by name; a program that is not there has none.
pub(crate) fn program_digests(bin: &Path, names: &[&str]) -> BTreeMap<String, String> {
    let digests =
        names.iter().filter_map(|name| Some(((*name).to_owned(), digest::of_path(&bin.join(name)).ok()?)));
    digests.collect()
}

/// The first line that a command prints.
fn line(root: &Path, program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).current_dir(root).stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().next().filter(|_| output.status.success()).map(|line| line.trim().to_owned())
}

fn cpu_name() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}

fn memory_gib() -> Option<f64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some((kib / f64::from(1 << 20) * 10.0).round() / 10.0)
}

fn gpu(root: &Path) -> Option<String> {
    line(root, "nvidia-smi", &["--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"])
}

fn os(root: &Path) -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let name = name.map_or(std::env::consts::OS, |name| name.trim_matches('"'));
    let kernel = line(root, "uname", &["-sr"]).unwrap_or_default();
    format!("{name}, {kernel}").trim_end_matches([',', ' ']).to_owned()
}

/// PyTorch's version of the libtorch in use.
fn libtorch(root: &Path) -> Option<String> {
    let dir = std::env::var_os("LIBTORCH").map_or_else(|| root.join(".libtorch/torch"), PathBuf::from);
    if let Ok(text) = fs::read_to_string(dir.join("build-version")) {
        return Some(text.trim().to_owned());
    }
    let text = fs::read_to_string(dir.join("version.py")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("__version__ = "))?;
    Some(line.trim_matches(['\'', '"']).to_owned())
}

/// The commit, with a mark where the checkout has changes.
fn commit(root: &Path) -> Option<String> {
    let commit = line(root, "git", &["rev-parse", "HEAD"])?;
    let changed = line(root, "git", &["status", "--porcelain", "--untracked-files=no"]);
    Some(if changed.is_some() { format!("{commit} with changes") } else { commit })
}
