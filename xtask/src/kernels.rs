//! `cargo xtask kernels`: compiles every CUDA kernel, which needs NVIDIA's compiler but no GPU.

use anyhow::{Result, bail};

use xtask::output::say;
use xtask::process::capture;
use xtask::workspace::Workspace;
use xtask::{nvrtc, setup};

/// The test that compiles; it prints a line that begins with the second for each kernel file and generation of GPUs.
const TEST: &str = "every_kernel_compiles_for_every_generation";
const COMPILED: &str = "compiled ";

/// Installs the compiler into the target directory, where it is not yet, and has the test compile with it.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    setup::ensure(workspace)?;
    let library = nvrtc::library(workspace)?;
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
