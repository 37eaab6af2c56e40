//! NVIDIA's run-time compiler, for those who compile kernels without a GPU.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::process::run_to_stderr;
use crate::python::PYTHON;
use crate::workspace::Workspace;

/// The version that PyTorch's own CUDA packages ask for.
const PACKAGE: &str = "nvidia-cuda-nvrtc==13.0.88";
/// Path inside that package, from the directory it is installed to.
const LIBRARY: &str = "nvidia/cu13/lib/libnvrtc.so.13";

/// Returns the compiler's library; installs it into the target directory, where it is not yet. The one that `NVRTC_LIBRARY`
/// names comes first.
///
/// # Errors
/// When pip cannot install it.
pub fn library(workspace: &Workspace) -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("NVRTC_LIBRARY") {
        return Ok(named.into());
    }
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
