//! `cargo xtask setup`: libtorch 2.11.0 in `.libtorch/`.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use get_libtorch::{Build, Env, Gpus, Indexes, Installer, PYTORCH, VERSION, Wanted};

use crate::fetching::Fetching;
use crate::output::note;
use crate::programs;
use crate::workspace::Workspace;

/// Arguments of `cargo xtask setup`.
#[derive(Debug, Args)]
pub struct SetupArgs {
    /// Fetch a build with CUDA, as without this flag where an NVIDIA driver is: the one for its GPUs, or the one named (cpu, cu126, cu128, cu130)
    #[arg(long, value_name = "BUILD")]
    #[expect(clippy::option_option, reason = "clap's form of a flag whose value may be left out")]
    cuda: Option<Option<Build>>,
    /// Use the PyTorch 2.11.0 in this directory (`…/site-packages/torch`) and fetch nothing
    #[arg(long, value_name = "DIR", conflicts_with = "cuda")]
    torch: Option<PathBuf>,
}

/// Sets up libtorch, or checks the one that `LIBTORCH` names.
///
/// # Errors
/// When programs are missing or libtorch cannot be had.
pub fn run(workspace: &Workspace, args: &SetupArgs) -> Result<()> {
    let wanted = match args.cuda {
        None => Wanted::ForThisMachine,
        Some(None) => Wanted::Cuda,
        Some(Some(build)) => Wanted::Exactly(build),
    };
    set_up(workspace, wanted, args.torch.as_deref())
}

/// Sets up libtorch for another task, unless that is done. Any build will do then.
///
/// # Errors
/// As [`run`].
pub fn ensure(workspace: &Workspace) -> Result<()> {
    let ready =
        workspace.users_libtorch().is_none() && get_libtorch::check(&workspace.own_libtorch()).is_ok();
    if ready && programs::has_cxx() { Ok(()) } else { set_up(workspace, Wanted::Any, None) }
}

fn set_up(workspace: &Workspace, wanted: Wanted, torch: Option<&Path>) -> Result<()> {
    if let Some(dir) = workspace.users_libtorch() {
        return check_users(&dir);
    }
    programs::check()?;
    let home = workspace.path(".libtorch");
    // Two tasks at the same time: the second waits, and then finds all done.
    let _lock = get_libtorch::lock(&home)?;
    if let Some(torch) = torch {
        let version = Installer::new(&home)?.link(torch)?;
        note(&format!("libtorch {version} of `{}` is ready in .libtorch", torch.display()));
        return Ok(());
    }
    let gpus = Gpus::of_this_machine();
    if let Some(version) = wanted.is_met_by(&home, gpus.as_ref()) {
        note(&format!("libtorch {version} is ready in .libtorch"));
        return Ok(());
    }
    let env = Env::of_process();
    let installer = Installer::new(&home)?;
    let choice = wanted.choice(gpus.as_ref());
    if !matches!(wanted, Wanted::Exactly(_)) && offers_active(&installer, &env, choice.build)? {
        return Ok(());
    }
    note(&format!("build {}: {}", choice.build, choice.reason));
    let indexes = Indexes::of_pip(&env, PYTORCH)?;
    let version = installer.install(choice.build, &indexes, &mut Fetching::default())?;
    note(&format!("libtorch {version} is installed in .libtorch"));
    Ok(())
}

/// Offers the PyTorch of an active environment; tells if it is taken. Where nobody can answer, its place is said.
fn offers_active(installer: &Installer, env: &Env, build: Build) -> Result<bool> {
    let Some((torch, version)) = get_libtorch::active(env) else { return Ok(false) };
    let (shown, active) = (torch.display(), get_libtorch::build_of(&version));
    if build != Build::Cpu && active != build {
        note(&format!(
            "PyTorch {version} in `{shown}` is not the build {build}, which this machine's GPUs want; `--torch {shown}` uses it all the same"
        ));
        return Ok(false);
    }
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        note(&format!(
            "PyTorch {version} is there already; `cargo xtask setup --torch {shown}` uses it and fetches nothing"
        ));
        return Ok(false);
    }
    let _ = write!(
        std::io::stderr(),
        "PyTorch {version} is there already, in `{shown}`. Use it and fetch nothing? [Y/n] "
    );
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer).unwrap_or(0);
    if read == 0 || !matches!(answer.trim().to_lowercase().as_str(), "" | "y" | "yes") {
        return Ok(false);
    }
    installer.link(&torch)?;
    note(&format!("libtorch {version} of `{shown}` is ready in .libtorch"));
    Ok(true)
}

fn check_users(dir: &Path) -> Result<()> {
    let remedy = format!(
        "point LIBTORCH to the directory `torch` of a PyTorch {VERSION} (python3 -c 'import torch; print(torch.__path__[0])'), \
         or unset it and `cargo xtask setup` installs one"
    );
    if !dir.is_absolute() {
        bail!("LIBTORCH is `{}`; expected an absolute path: {remedy}", dir.display());
    }
    let version = get_libtorch::check(dir)
        .map_err(|unfit| anyhow::anyhow!("LIBTORCH does not serve: {unfit}; {remedy}"))?;
    programs::check()?;
    note(&format!("libtorch {version} of LIBTORCH, `{}`, is ready", dir.display()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_libtorch_that_does_not_serve_is_refused_with_the_remedy() {
        for dir in ["relative/torch", "/no/such/torch"] {
            let error = check_users(Path::new(dir)).unwrap_err().to_string();
            assert!(error.contains(dir) && error.contains("unset it"), "{error}");
        }
    }
}
