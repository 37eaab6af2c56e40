//! A crate outside this repository depends on this one by its path, and on nothing else.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A crate in a temporary directory, whose program is the example `fine_tune`.
struct OutsideCrate {
    dir: tempfile::TempDir,
    root: PathBuf,
}

impl OutsideCrate {
    fn new() -> Self {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = here.join("../..").canonicalize().unwrap();
        let outside = Self { dir: tempfile::tempdir().unwrap(), root };
        fs::create_dir(outside.path("src")).unwrap();
        fs::copy(here.join("examples/fine_tune.rs"), outside.path("src/main.rs")).unwrap();
        fs::copy(outside.root.join("Cargo.lock"), outside.path("Cargo.lock")).unwrap();
        std::os::unix::fs::symlink(outside.root.join("datasets"), outside.path("datasets")).unwrap();
        outside.write_manifest("");
        outside
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a manifest with one dependency and `more`. The profiles are the workspace's, so that crates of others are not
    /// compiled again.
    fn write_manifest(&self, more: &str) {
        let workspace = fs::read_to_string(self.root.join("Cargo.toml")).unwrap();
        let profiles = &workspace[workspace.find("[profile.").unwrap()..];
        let crates = self.root.join("crates");
        let manifest = format!(
            "[package]\nname = \"outside\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[dependencies]\n\
             llama-finetune = {{ path = \"{}\" }}\n\n{more}\n{profiles}",
            crates.join("llama-finetune").display()
        );
        fs::write(self.path("Cargo.toml"), manifest).unwrap();
    }

    /// Runs a program in the crate's directory, without the library path that cargo gives to tests.
    fn run(&self, program: impl AsRef<std::ffi::OsStr>, args: &[&str]) -> Output {
        let mut command = Command::new(program);
        command.args(args).current_dir(self.dir.path()).env_remove("LD_LIBRARY_PATH");
        command.env("CARGO_TARGET_DIR", target()).env("OMP_NUM_THREADS", "1");
        if std::env::var_os("LIBTORCH").is_none() {
            command.env("LIBTORCH", self.root.join(".libtorch/torch"));
        }
        command.output().unwrap()
    }

    fn cargo(&self, command: &str) -> Output {
        self.run(env!("CARGO"), &[command, "--offline", "--quiet"])
    }
}

/// Returns the target directory of the tests themselves.
fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().to_owned()
}

/// Checks that the program said what it learnt.
fn check(output: &Output) {
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stderr}");
    assert!(stdout.contains("home in the cave"), "{stdout}");
}

#[test]
fn an_outside_crate_builds_and_finds_libtorch_by_cargo_run_and_by_itself() {
    let outside = OutsideCrate::new();
    check(&outside.cargo("run"));

    // A program that starts without cargo has libtorch's directory in it, by one line of its build script.
    let link = outside.root.join("crates/link-libtorch");
    outside.write_manifest(&format!(
        "[build-dependencies]\nlink-libtorch = {{ path = \"{}\" }}\n",
        link.display()
    ));
    fs::write(outside.path("build.rs"), "fn main() { link_libtorch::rpath(); }\n").unwrap();
    let built = outside.cargo("build");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    check(&outside.run(target().join("debug/outside"), &[]));
}
