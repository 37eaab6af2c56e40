//! `cargo xtask neon`: compiles the NEON kernels and runs their tests, which needs no ARM processor and no libtorch.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use xtask::output::say;
use xtask::process::{self, capture, run_to_stderr, succeeds};
use xtask::workspace::Workspace;

/// Rust brings along all that a program for it is linked from.
const TARGET: &str = "aarch64-unknown-linux-musl";
/// A module that uses nothing but `std`.
const KERNELS: &str = "crates/kernels/src/simd/mod.rs";
/// QEMU's emulator of one process, under the names that distributions give it.
const EMULATORS: [&str; 2] = ["qemu-aarch64", "qemu-aarch64-static"];

/// Adds the target to the Rust toolchain, where it is not yet, compiles the tests, and runs them if there is a way to.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    add_target(workspace, &rustc)?;
    let home = workspace.target_dir()?.join("neon");
    fs::create_dir_all(&home).with_context(|| format!("cannot create `{}`", home.display()))?;
    let (source, tests) = (home.join("tests.rs"), home.join("tests"));
    fs::write(&source, program(&workspace.path(KERNELS)))
        .with_context(|| format!("cannot write `{}`", source.display()))?;
    let mut compile = workspace.command(&rustc);
    compile.args(["--edition", "2024", "--test", "--target", TARGET, "-C", "linker=rust-lld"]);
    compile.args(["-C", "opt-level=1", "-C", "debug-assertions", "-D", "warnings", "-o"]);
    run_to_stderr(compile.arg(&tests).arg(&source))?;
    let Some(mut command) = runner(workspace, &tests) else {
        say(&format!(
            "the NEON kernels compile; their tests were not run: {} is not installed",
            EMULATORS[0]
        ));
        return Ok(());
    };
    process::run(&mut command)
}

fn add_target(workspace: &Workspace, rustc: &OsStr) -> Result<()> {
    let libraries = capture(workspace.command(rustc).args(["--print", "target-libdir", "--target", TARGET]))?;
    if Path::new(libraries.trim()).exists() {
        return Ok(());
    }
    run_to_stderr(workspace.command("rustup").args(["target", "add", TARGET])).with_context(|| {
        format!(
            "the Rust toolchain has no standard library for {TARGET}, and rustup could not add it (27 MB)"
        )
    })
}

/// Returns the source of a crate of the kernels alone, most of which nobody calls.
fn program(kernels: &Path) -> String {
    format!(
        "#![allow(dead_code, unused_imports)]\n#[path = {:?}]\nmod simd;\n",
        kernels.display().to_string()
    )
}

/// Returns the runner of the tests: this machine itself, or an emulator where there is one.
fn runner(workspace: &Workspace, tests: &Path) -> Option<Command> {
    if cfg!(all(target_os = "linux", target_arch = "aarch64")) {
        return Some(workspace.command(tests));
    }
    let emulator = EMULATORS.into_iter().find(|name| succeeds(Command::new(name).arg("--version")))?;
    let mut command = workspace.command(emulator);
    command.arg(tests);
    Some(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_names_the_kernels_as_a_literal_of_rust() {
        let program = program(Path::new(r#"a "clone"/mod.rs"#));
        assert!(program.contains(r#"#[path = "a \"clone\"/mod.rs"]"#), "{program}");
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        assert!(root.join(KERNELS).with_file_name("neon.rs").exists());
    }
}
