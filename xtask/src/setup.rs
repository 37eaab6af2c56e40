//! `cargo xtask setup`: libtorch 2.11.0 in `.libtorch/`.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::libtorch::{self, VERSION};
use crate::output::note;
use crate::process::{run_to_stderr, succeeds};
use crate::programs;
use crate::python::PYTHON;
use crate::workspace::Workspace;

/// Packages that `libtorch_cpu.so` needs besides its own files, even where no GPU is used.
const CPU_SET: [&str; 2] = ["nvidia-cuda-runtime==13.0.96", "nvidia-cuda-cupti==13.0.85"];

/// Arguments of `cargo xtask setup`.
#[derive(Debug, Args)]
pub struct SetupArgs {
    /// Install the full set with every CUDA library (2.7 GB to fetch instead of 0.5); the default where an NVIDIA GPU is
    #[arg(long)]
    cuda: bool,
}

/// Which packages are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Set {
    /// Serves a CPU.
    Small,
    /// Serves a GPU too.
    Full,
}

/// Installs libtorch, or checks the one that `LIBTORCH` names.
///
/// # Errors
/// When programs are missing or the installation fails.
pub fn run(workspace: &Workspace, args: &SetupArgs) -> Result<()> {
    let set = if args.cuda || nvidia_gpu() { Set::Full } else { Set::Small };
    install_if_needed(workspace, set)
}

/// Sets up libtorch for another task, unless that is done. Either set of packages will do then.
///
/// # Errors
/// As [`run`].
pub fn ensure(workspace: &Workspace) -> Result<()> {
    let ready = workspace.users_libtorch().is_none() && libtorch::check(&workspace.own_libtorch()).is_ok();
    if ready && programs::missing(false).is_empty() {
        return Ok(());
    }
    run(workspace, &SetupArgs { cuda: false })
}

fn install_if_needed(workspace: &Workspace, set: Set) -> Result<()> {
    if let Some(dir) = workspace.users_libtorch() {
        return check_users(&dir);
    }
    // Two tasks at the same time: the second waits, and then finds all done.
    let lock_path = workspace.path(".libtorch.lock");
    let lock =
        File::create(&lock_path).with_context(|| format!("cannot create `{}`", lock_path.display()))?;
    lock.lock().with_context(|| format!("cannot lock `{}`", lock_path.display()))?;

    let home = workspace.path(".libtorch");
    let state = libtorch::check(&workspace.own_libtorch());
    let present =
        state.is_ok() && (set == Set::Small || !full_is_apart() || libtorch::has_cuda_packages(&home));
    refuse_missing(!present)?;
    if let (true, Ok(version)) = (present, &state) {
        note(&format!("libtorch {version} is ready in .libtorch"));
        return Ok(());
    }
    match &state {
        Err(libtorch::Unfit::Absent { .. }) => {}
        Err(unfit) => note(&format!("{unfit}: installing anew")),
        Ok(version) => {
            note(&format!("libtorch {version} in .libtorch has no CUDA libraries: installing the full set"));
        }
    }
    install(workspace, &home, set)
}

/// Installs beside the final place and renames, so that an interrupted set-up is not taken for a whole one.
fn install(workspace: &Workspace, home: &Path, set: Set) -> Result<()> {
    let start = Instant::now();
    let (partial, old) = (workspace.path(".libtorch.partial"), workspace.path(".libtorch.old"));
    for stale in [&partial, &old] {
        remove(stale)?;
    }
    run_to_stderr(workspace.command(PYTHON).args(["-m", "pip", "install"]).args(pip_args(set)).arg("--target").arg(&partial))
        .with_context(|| {
            format!("cannot install PyTorch {VERSION} with pip; it needs the package index and some free disk: 1.2 GB, \
                     or 4.7 GB with CUDA")
        })?;
    let version = libtorch::check(&partial.join("torch"))
        .map_err(|unfit| anyhow::anyhow!("pip succeeded, but {unfit}"))?;
    if home.exists() {
        fs::rename(home, &old).with_context(|| format!("cannot move `{}` away", home.display()))?;
    }
    fs::rename(&partial, home).with_context(|| format!("cannot move libtorch to `{}`", home.display()))?;
    remove(&old)?;
    note(&format!("libtorch {version} is installed in .libtorch ({:.0} s)", start.elapsed().as_secs_f64()));
    Ok(())
}

fn pip_args(set: Set) -> Vec<String> {
    let torch = format!("torch=={VERSION}");
    if set == Set::Full || !full_is_apart() {
        // Without the CUDA packages there is little else that pip would fetch.
        return vec![torch];
    }
    let mut args = vec!["--no-deps".to_owned(), torch];
    args.extend(CPU_SET.map(str::to_owned));
    args
}

/// Returns true where PyTorch's package comes with CUDA packages here, which the small set leaves out.
fn full_is_apart() -> bool {
    cfg!(target_os = "linux")
}

fn check_users(dir: &Path) -> Result<()> {
    let remedy = format!(
        "point LIBTORCH to the directory `torch` of a PyTorch {VERSION} (python3 -c 'import torch; print(torch.__path__[0])'), \
         or unset it and `cargo xtask setup` installs one"
    );
    if !dir.is_absolute() {
        bail!("LIBTORCH is `{}`; expected an absolute path: {remedy}", dir.display());
    }
    let version = libtorch::check(dir)
        .map_err(|unfit| anyhow::anyhow!("LIBTORCH does not serve: {unfit}; {remedy}"))?;
    refuse_missing(false)?;
    note(&format!("libtorch {version} of LIBTORCH, `{}`, is ready", dir.display()));
    Ok(())
}

fn refuse_missing(needs_pip: bool) -> Result<()> {
    let missing = programs::missing(needs_pip);
    if missing.is_empty() { Ok(()) } else { bail!("{}", missing.join("\n       ")) }
}

/// Returns true when this machine has an NVIDIA GPU with its driver.
pub fn nvidia_gpu() -> bool {
    Path::new("/proc/driver/nvidia").exists() || succeeds(Command::new("nvidia-smi").arg("-L"))
}

fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove `{}`", dir.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_is_pinned() {
        for set in [Set::Small, Set::Full] {
            let args = pip_args(set);
            assert!(args.contains(&"torch==2.11.0".to_owned()));
            assert!(args.iter().all(|arg| arg.starts_with("--") || arg.contains("==")), "{args:?}");
        }
        assert_eq!(pip_args(Set::Full), ["torch==2.11.0"]);
    }

    #[test]
    fn a_users_libtorch_that_does_not_serve_is_refused_with_the_remedy() {
        for dir in ["relative/torch", "/no/such/torch"] {
            let error = check_users(Path::new(dir)).unwrap_err().to_string();
            assert!(error.contains(dir) && error.contains("unset it"), "{error}");
        }
    }
}
