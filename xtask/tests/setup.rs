//! `cargo xtask setup` as a person types it, on a machine with an old Python, and on one with none.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../../crates/get-libtorch/tests/common/mod.rs"]
#[allow(dead_code, reason = "shared with tests that need all of it")]
mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use common::{Server, cpu_set, torch};

fn script(path: &Path, text: &str) {
    fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Runs the set-up in an empty checkout with the programs of `bin` and no others.
fn set_up(checkout: &Path, bin: &Path, index: &str, args: &[&str]) -> Output {
    fs::create_dir_all(checkout.join("xtask")).unwrap();
    fs::write(checkout.join("xtask/Cargo.toml"), "").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.arg("setup").args(args).env_clear();
    command.env("CARGO_MANIFEST_DIR", checkout.join("xtask")).env("PATH", bin);
    command.env("PIP_CONFIG_FILE", "/dev/null").env("PIP_INDEX_URL", index).output().unwrap()
}

#[test]
fn no_python_is_needed_and_none_is_run() {
    let (server, dir) = (Server::start(), tempfile::tempdir().unwrap());
    server.index("/simple", &[vec![torch("2.11.0", "cp310", &[])], cpu_set()].concat());
    let (bin, called) = (dir.path().join("bin"), dir.path().join("called"));
    fs::create_dir(&bin).unwrap();
    script(&bin.join("c++"), "exit 0");
    for python in [None, Some(format!("echo Python 3.9.5; : > {}; exit 1", called.display()))] {
        if let Some(text) = &python {
            script(&bin.join("python3"), text);
        }
        let checkout = dir.path().join(if python.is_some() { "old" } else { "none" });
        let output = set_up(&checkout, &bin, &server.url("/simple"), &["--cuda", "cpu"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        assert!(said.contains("to download") && said.contains("is installed in .libtorch"), "{said}");
        assert!(checkout.join(".libtorch/torch/include").is_dir() && !called.exists());
        let again = set_up(&checkout, &bin, "http://127.0.0.1:1/simple", &["--cuda", "cpu"]);
        assert!(
            String::from_utf8_lossy(&again.stderr).contains("is ready"),
            "what is there is not fetched again"
        );
    }
}

#[test]
fn a_missing_compiler_and_an_unknown_build_are_said_before_anything_is_fetched() {
    let (server, dir) = (Server::start(), tempfile::tempdir().unwrap());
    let bin = dir.path().join("bin");
    fs::create_dir(&bin).unwrap();
    let index = server.url("/simple");
    let said = |args: &[&str]| String::from_utf8(set_up(dir.path(), &bin, &index, args).stderr).unwrap();
    let compiler = said(&["--cuda", "cpu"]);
    assert!(
        compiler.contains("C++ compiler is missing") && compiler.contains("apt-get install g++"),
        "{compiler}"
    );
    let build = said(&["--cuda", "cu118"]);
    assert!(build.contains("cu118") && build.contains("cu126"), "{build}");
    assert!(server.log().is_empty());
}
