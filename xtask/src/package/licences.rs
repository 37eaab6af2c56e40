//! Licences of all that is in a package: the texts that the crates, PyTorch and NVIDIA ship.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;
use xtask::process::capture;
use xtask::workspace::Workspace;

use super::files::{copy, put};
use super::toolchain::TARGET;

/// Beginnings of the names of files that say what one may do with a crate, in capitals.
const NAMES: [&str; 6] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
    manifest_path: PathBuf,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Deserialize)]
struct DependencyKind {
    /// `None` for what is linked; `dev` and `build` otherwise.
    kind: Option<String>,
}

/// Writes the list of the crates that the programs are linked with to `into`/crates.md, and their texts beside it.
///
/// # Errors
/// When cargo does not tell, or a file cannot be written.
pub(crate) fn of_crates(workspace: &Workspace, into: &Path) -> Result<()> {
    let text = capture(workspace.cargo().args([
        "metadata",
        "--locked",
        "--format-version",
        "1",
        "--filter-platform",
        TARGET,
    ]))?;
    let metadata: Metadata = serde_json::from_str(&text).context("cannot read `cargo metadata`")?;
    let linked = linked(&metadata, "cli");
    let mut packages: Vec<&Package> = metadata
        .packages
        .iter()
        .filter(|package| package.source.is_some() && linked.contains(&package.id))
        .collect();
    packages.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    let mut list = String::from(
        "# Crates that the programs are linked with\n\n| crate | licence | texts |\n|---|---|---|\n",
    );
    for package in packages {
        let name = format!("{}-{}", package.name, package.version);
        let from = package.manifest_path.parent().unwrap_or(Path::new(""));
        let texts = copy_texts(from, &into.join("crates").join(&name))?;
        let shown = if texts.is_empty() {
            "none in the crate".to_owned()
        } else {
            format!("[{}](crates/{name})", texts.join(", "))
        };
        let licence = package.license.as_deref().unwrap_or("not stated");
        let _ = writeln!(list, "| {name} | {licence} | {shown} |");
    }
    put(&into.join("crates.md"), &list)
}

/// Returns the packages that are linked into those of the workspace member `root`.
fn linked(metadata: &Metadata, root: &str) -> BTreeSet<String> {
    let is_root = |package: &&Package| package.name == root && package.source.is_none();
    let mut open: Vec<&str> =
        metadata.packages.iter().filter(is_root).map(|package| package.id.as_str()).collect();
    let mut seen = BTreeSet::new();
    while let Some(id) = open.pop() {
        if !seen.insert(id.to_owned()) {
            continue;
        }
        let node = metadata.resolve.nodes.iter().filter(|node| node.id == id);
        let needed = |dependency: &&Dependency| dependency.dep_kinds.iter().any(|kind| kind.kind.is_none());
        open.extend(
            node.flat_map(|node| node.deps.iter().filter(needed).map(|dependency| dependency.pkg.as_str())),
        );
    }
    seen
}

/// Copies the texts of the wheels that libtorch came in, of PyTorch's and where `with_nvidia` of NVIDIA's; returns their number.
///
/// # Errors
/// When a file cannot be written.
pub(crate) fn of_libtorch(torch: &Path, with_nvidia: bool, into: &Path) -> Result<usize> {
    let Some(home) = torch.parent() else { return Ok(0) };
    let mut count = 0;
    for entry in fs::read_dir(home).with_context(|| format!("cannot read `{}`", home.display()))?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let wanted = name.starts_with("torch-") || (with_nvidia && name.starts_with("nvidia_"));
        if let Some(package) = name.strip_suffix(".dist-info").filter(|_| wanted) {
            // Where they lie depends on the tool that made the wheel.
            for from in [entry.path(), entry.path().join("licenses")] {
                count += copy_texts(&from, &into.join(package))?.len();
            }
        }
    }
    Ok(count)
}

/// Copies the files of `from` whose names are those of licences; returns the names.
fn copy_texts(from: &Path, into: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(from).into_iter().flatten().flatten().filter(|entry| entry.path().is_file()) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if NAMES.iter().any(|beginning| name.to_uppercase().starts_with(beginning)) {
            copy(&entry.path(), &into.join(&name))?;
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_linked_is_listed_and_what_only_builds_or_tests_is_not() {
        let package = |name: &str| {
            format!(
                r#"{{"id":"{name}","name":"{name}","version":"1.0.0","license":"MIT","source":null,"manifest_path":"/x/Cargo.toml"}}"#
            )
        };
        let dep = |name: &str, kind: &str| format!(r#"{{"pkg":"{name}","dep_kinds":[{{"kind":{kind}}}]}}"#);
        let node = |name: &str, deps: &[String]| format!(r#"{{"id":"{name}","deps":[{}]}}"#, deps.join(","));
        let packages = ["cli", "a", "b", "build", "test"].map(package).join(",");
        let nodes = [
            node("cli", &[dep("a", "null"), dep("build", "\"build\""), dep("test", "\"dev\"")]),
            node("a", &[dep("b", "null")]),
            node("b", &[dep("a", "null")]),
            node("build", &[]),
            node("test", &[]),
        ];
        let text = format!(r#"{{"packages":[{packages}],"resolve":{{"nodes":[{}]}}}}"#, nodes.join(","));
        let metadata: Metadata = serde_json::from_str(&text).unwrap();
        assert_eq!(linked(&metadata, "cli"), ["a", "b", "cli"].map(str::to_owned).into());
    }

    #[test]
    fn texts_of_a_wheel_are_copied_and_nvidias_only_with_its_libraries() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str| put(&dir.path().join(path), "text").unwrap();
        write("torch-2.11.0.dist-info/licenses/LICENSE");
        write("torch-2.11.0.dist-info/METADATA");
        write("nvidia_cuda_runtime-13.0.96.dist-info/License.txt");
        write("torch/lib/libc10.so");
        for (with_nvidia, count) in [(false, 1), (true, 2)] {
            let into = dir.path().join(format!("out-{with_nvidia}"));
            assert_eq!(of_libtorch(&dir.path().join("torch"), with_nvidia, &into).unwrap(), count);
            assert!(
                into.join("torch-2.11.0/LICENSE").exists() && !into.join("torch-2.11.0/METADATA").exists()
            );
        }
    }
}
