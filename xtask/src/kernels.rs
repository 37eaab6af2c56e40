//! `cargo xtask kernels`: compiles every CUDA kernel, which needs NVIDIA's compiler but no GPU.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use xtask::output::say;
use xtask::process::{capture, run_to_stderr};
use xtask::python::PYTHON;
use xtask::setup;
use xtask::workspace::Workspace;

/// The version that PyTorch's own CUDA packages ask for.
const PACKAGE: &str = "nvidia-cuda-nvrtc==13.0.88";
/// Path inside that package, from the directory it is installed to.
const LIBRARY: &str = "nvidia/cu13/lib/libnvrtc.so.13";
/// The test that compiles; it prints a line that begins with the second for each kernel file and generation of GPUs.
const TEST: &str = "every_kernel_compiles_for_every_generation";
const COMPILED: &str = "compiled ";

/// Installs the compiler into the target directory, where it is not yet, and has the test compile with it.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    setup::ensure(workspace)?;
    let library = library(workspace)?;
    // The libraries' tests of the whole workspace: what `cargo xtask test` has built is not built again.
    let mut test = workspace.cargo();
    test.args(["test", "--workspace", "--lib", "--", "--nocapture", TEST]);
    let output = capture(test.env("NVRTC_LIBRARY", &library))?;
    let compiled: Vec<&str> = compiled(&output);
    if compiled.is_empty() {
        bail!("the test `{TEST}` compiled nothing; expected every file of crates/kernels/cuda");
    }
    for line in compiled {
        say(line);
    }
    Ok(())
}

fn library(workspace: &Workspace) -> Result<PathBuf> {
    let home = workspace.target_dir()?.join("nvrtc");
    let library = home.join(LIBRARY);
    if !library.exists() {
        let mut pip = workspace.command(PYTHON);
        pip.args(["-m", "pip", "install", "--quiet", "--upgrade", "--no-deps", PACKAGE, "--target"])
            .arg(&home);
        run_to_stderr(&mut pip).with_context(|| {
            format!(
                "cannot install {PACKAGE} with pip; compiling the kernels needs the package index (90 MB)"
            )
        })?;
    }
    if library.exists() {
        Ok(library)
    } else {
        bail!("pip succeeded, but `{}` does not exist", library.display())
    }
}

/// Lists the kernels that the test says it compiled. The test runner writes `test NAME ... ` before the first of its lines.
fn compiled(output: &str) -> Vec<&str> {
    output.lines().filter_map(|line| line.find(COMPILED).map(|at| &line[at..])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_wherever_the_runner_puts_them() {
        let output = "running 1 test\ntest a ... compiled x.cu for sm_80: 5 bytes\ncompiled y.cu for sm_80: 6 bytes\nok\n";
        assert_eq!(
            compiled(output),
            ["compiled x.cu for sm_80: 5 bytes", "compiled y.cu for sm_80: 6 bytes"]
        );
        assert!(compiled("running 0 tests\n").is_empty());
    }
}
