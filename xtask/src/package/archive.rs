//! The archive: one directory with all that is needed, as it is unpacked.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use xtask::process::{capture, run_to_stderr, succeeds};
use xtask::workspace::Workspace;

use super::built::{ALL_IN_ONE, Built};
use super::files::copy;
use super::{libraries, licences};

/// Files of the checkout that go along, from and to.
const FILES: [(&str, &str); 8] = [
    ("LICENSE", "LICENSE"),
    ("xtask/package/README.md", "README.md"),
    ("xtask/package/demo.sh", "demo.sh"),
    ("datasets/README.md", "datasets/README.md"),
    ("datasets/demo.toml", "datasets/demo.toml"),
    ("datasets/mini_data.json", "datasets/mini_data.json"),
    ("datasets/records", "datasets/records"),
    ("datasets/tiny-llama", "datasets/tiny-llama"),
];

/// Lays the directory out.
///
/// # Errors
/// When a part is missing or cannot be written.
pub(crate) fn lay_out(workspace: &Workspace, built: &Built, dir: &Path) -> Result<()> {
    let bin = dir.join("bin");
    fs::create_dir_all(&bin).with_context(|| format!("cannot create `{}`", bin.display()))?;
    copy(&built.program, &bin.join(ALL_IN_ONE))?;
    for name in programs(workspace)? {
        symlink(ALL_IN_ONE, bin.join(&name)).with_context(|| format!("cannot link `{name}`"))?;
    }
    let with_nvidia = libraries::copy(&built.program, &built.torch, &dir.join("lib"))?;
    for (from, to) in FILES {
        copy(&workspace.path(from), &dir.join(to))?;
    }
    book(workspace, &dir.join("docs"))?;
    for part in ["completions", "man"] {
        copy(&built.manuals.join(part), &dir.join(part))?;
    }
    let texts = dir.join("licences");
    licences::of_crates(workspace, &texts)?;
    let count = licences::of_libtorch(&built.torch, with_nvidia, &texts)?;
    anyhow::ensure!(
        count > 0,
        "`{}` came without PyTorch's licence: `cargo xtask setup` keeps it",
        built.torch.display()
    );
    Ok(())
}

/// Lists the programs besides [`ALL_IN_ONE`], which is all of them.
pub(crate) fn programs(workspace: &Workspace) -> Result<Vec<String>> {
    let dir = workspace.path("crates/cli/src/bin");
    let entries = fs::read_dir(&dir).with_context(|| format!("cannot read `{}`", dir.display()))?;
    let names = entries.flatten().filter_map(|entry| Some(entry.path().file_stem()?.to_str()?.to_owned()));
    Ok(names.filter(|name| name != ALL_IN_ONE).collect())
}

/// Writes the book: HTML where mdBook is installed, else the pages as they are.
fn book(workspace: &Workspace, into: &Path) -> Result<()> {
    if succeeds(Command::new("mdbook").arg("--version")) {
        return run_to_stderr(workspace.command("mdbook").args(["build", "--dest-dir"]).arg(into));
    }
    copy(&workspace.path("docs"), into)
}

/// Packs `dir` into `archive`: the same bytes for the same files, with the time of the commit.
///
/// # Errors
/// When `tar` or `gzip` fail.
pub(crate) fn pack(workspace: &Workspace, dir: &Path, archive: &Path) -> Result<()> {
    let (parent, name) = dir.parent().zip(dir.file_name()).context("a directory with a name is packed")?;
    for file in [dir.join("demo.sh"), dir.join("bin").join(ALL_IN_ONE)] {
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("cannot change `{}`", file.display()))?;
    }
    let time = capture(workspace.command("git").args(["log", "-1", "--format=%ct"]))
        .unwrap_or_else(|_| "0".to_owned());
    let mut tar = workspace.command("tar");
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mode=go=rX"]);
    tar.arg(format!("--mtime=@{}", time.trim())).args([
        "--use-compress-program",
        "gzip -9n",
        "--create",
        "--file",
    ]);
    run_to_stderr(tar.arg(archive).arg("--directory").arg(parent).arg(name))
}

#[cfg(test)]
mod tests {
    use super::super::files::put;
    use super::*;

    #[test]
    fn an_archive_has_every_program_the_libraries_it_needs_and_all_that_goes_along() {
        let workspace =
            Workspace { root: Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned() };
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str| put(&dir.path().join(path), "text").unwrap();
        write("torch-2.11.0.dist-info/licenses/LICENSE");
        write("torch/lib/libc10.so");
        write("manuals/completions/llama-ft.fish");
        write("manuals/man/man1/llama-ft.1");
        // Stands in for the program: it is linked to the machine's libraries alone.
        let program = std::env::current_exe().unwrap();
        let built = Built { program, manuals: dir.path().join("manuals"), torch: dir.path().join("torch") };
        let out = dir.path().join("out/llama-finetuning");
        lay_out(&workspace, &built, &out).unwrap();
        let archive = dir.path().join("out.tar.gz");
        pack(&workspace, &out, &archive).unwrap();
        let listed = capture(Command::new("tar").arg("-tvf").arg(&archive)).unwrap();
        for path in [
            "bin/finetune -> llama-ft",
            "bin/runs -> llama-ft",
            "datasets/tiny-llama/model.safetensors",
            "docs/SUMMARY.md",
            "licences/torch-2.11.0/LICENSE",
            "licences/crates.md",
            "man/man1/llama-ft.1",
        ] {
            assert!(listed.contains(&format!("llama-finetuning/{path}")), "{path}: {listed}");
        }
        assert!(!listed.contains("libc10"), "what nothing is linked to stays behind: {listed}");
        let list = fs::read_to_string(out.join("licences/crates.md")).unwrap();
        assert!(list.contains("| clap-4") && !list.contains("| proptest-"), "{list}");
        let again = dir.path().join("again.tar.gz");
        pack(&workspace, &out, &again).unwrap();
        assert!(fs::read(&archive).unwrap() == fs::read(&again).unwrap(), "packed twice, other bytes");
    }
}
