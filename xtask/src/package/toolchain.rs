//! Programs for other machines: compiled and linked against glibc 2.28 and an older libstdc++, whatever this machine has.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use xtask::process::{capture, run_to_stderr};
use xtask::python::PYTHON;
use xtask::workspace::Workspace;

/// What is built for.
pub(crate) const TARGET: &str = "x86_64-unknown-linux-gnu";
/// Zig's word for it, with the version of glibc.
const ZIG_TARGET: &str = "x86_64-linux-gnu.2.28";
/// Zig: a clang, a linker, and the symbols of every glibc.
const ZIG: &str = "ziglang==0.17.1";
/// Compiler and linker, by the names they are called by.
const TOOLS: [&str; 3] = ["cc", "c++", "ld"];
/// Directories that programs look for libtorch in: an archive's, and that of PyTorch beside a wheel.
const RPATH: &str = "$ORIGIN/../lib:$ORIGIN/../../torch/lib";

/// Builds `llama-ft` and the program that writes its manuals; returns both.
///
/// # Errors
/// When Zig cannot be had, this machine has no GNU compiler for C++, or the programs cannot be built.
pub(crate) fn build(workspace: &Workspace) -> Result<(PathBuf, PathBuf)> {
    let tools = workspace.target_dir()?.join("package/tools");
    fs::create_dir_all(&tools).with_context(|| format!("cannot create `{}`", tools.display()))?;
    for name in TOOLS {
        let path = tools.join(name);
        fs::copy(workspace.path("xtask/package/tool.sh"), &path)
            .and_then(|_| fs::set_permissions(&path, fs::Permissions::from_mode(0o755)))
            .with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    let object = tools.join("old_libstdcxx.o");
    let environment = environment(&zig(workspace)?, &workspace.path("xtask/package/include"), &object)?;
    let mut compiler = workspace.command(tools.join("c++"));
    compiler.envs(environment.iter().cloned()).args([
        "-std=c++17",
        "-fPIC",
        "-O2",
        "-c",
        "xtask/package/old_libstdcxx.cpp",
        "-o",
    ]);
    run_to_stderr(compiler.arg(&object))?;

    let tool = |name: &str| tools.join(name).display().to_string();
    for (package, program) in [("cli", "llama-ft"), ("manuals", "manuals")] {
        let mut cargo = workspace.cargo();
        cargo.envs(environment.iter().cloned()).env("LIBTORCH_RPATH", RPATH);
        cargo.env("CC_x86_64_unknown_linux_gnu", tool("cc")).env("CXX_x86_64_unknown_linux_gnu", tool("c++"));
        cargo.env("RUSTFLAGS", format!("-C linker={} -C linker-features=-lld -C strip=symbols", tool("ld")));
        cargo.args(["rustc", "--release", "--target", TARGET, "--package", package, "--bin", program]);
        // From the name `ld` rustc would conclude that it speaks to a linker, and not to a compiler that links.
        run_to_stderr(cargo.args(["--", "-C", "linker-flavor=gcc"]))?;
    }
    let built = workspace.target_dir()?.join(TARGET).join("release");
    Ok((built.join("llama-ft"), built.join("manuals")))
}

/// Returns Zig, installed into the target directory where it is not yet; the one that `ZIG` names comes first.
fn zig(workspace: &Workspace) -> Result<String> {
    if let Ok(named) = std::env::var("ZIG") {
        return Ok(named);
    }
    let home = workspace.target_dir()?.join("zig");
    let program = home.join("ziglang/zig");
    if !program.exists() {
        let mut pip = workspace.command(PYTHON);
        pip.args(["-m", "pip", "install", "--quiet", "--upgrade", "--no-deps", ZIG, "--target"]).arg(&home);
        run_to_stderr(&mut pip).with_context(|| {
            format!("cannot install {ZIG} with pip (100 MB); ZIG in the environment names a Zig that is there already")
        })?;
    }
    Ok(program.display().to_string())
}

/// Returns what `tool.sh` reads.
fn environment(zig: &str, own_headers: &Path, object: &Path) -> Result<[(&'static str, String); 4]> {
    // The directories are said on stderr, one a line, between two lines of words.
    let output = Command::new("g++")
        .args(["-E", "-v", "-x", "c++", "/dev/null"])
        .output()
        .context("cannot start `g++`: its libstdc++ is linked to (`apt-get install g++`)")?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let headers = cxx_headers(&said);
    ensure!(!headers.is_empty(), "`g++ -v` names no directory of libstdc++'s headers");
    let include = std::iter::once(own_headers.display().to_string()).chain(headers);
    let include: Vec<String> = include.map(|dir| format!("-I{dir}")).collect();
    let library = |name: &str| {
        capture(Command::new("g++").arg(format!("-print-file-name={name}")))
            .map(|path| path.trim().to_owned())
    };
    let with = [object.display().to_string(), library("libstdc++.so")?, library("libgcc_s.so.1")?];
    Ok([
        ("ZIG", zig.to_owned()),
        ("ZIG_TARGET", ZIG_TARGET.to_owned()),
        ("CXX_INCLUDE", include.join(" ")),
        ("LINK_WITH", with.join(" ")),
    ])
}

/// Lists the directories of libstdc++'s headers in what `g++ -v` says.
fn cxx_headers(said: &str) -> Vec<String> {
    let list = said.split("search starts here:").last().unwrap_or_default();
    let list = list.split("End of search list").next().unwrap_or_default();
    list.lines().map(str::trim).filter(|dir| dir.contains("/c++/")).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::cxx_headers;

    #[test]
    fn headers_of_libstdcxx_are_taken_and_those_of_glibc_left() {
        let said = "ignoring \"/x\"\n#include \"...\" search starts here:\n#include <...> search starts here:\n \
                    /usr/include/c++/12\n /usr/include/x86_64-linux-gnu/c++/12\n /usr/lib/gcc/x86_64-linux-gnu/12/include\n \
                    /usr/include\nEnd of search list.\n# 0 \"/dev/null\"\n";
        assert_eq!(cxx_headers(said), ["/usr/include/c++/12", "/usr/include/x86_64-linux-gnu/c++/12"]);
        assert_eq!(cxx_headers("clang version 14"), Vec::<String>::new());
    }
}
