//! The call of the report package, which makes documents of results alone.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use super::args::ExperimentArgs;
use crate::output::note;

/// The workspace of the package, which takes minutes to build.
const MANIFEST: &str = "lab/Cargo.toml";

/// Makes the report. Without the package, or when it fails, the results stay and that is said; asked for by
/// `--report_only`, it is a failure.
///
/// # Errors
/// With `--report_only`, when there is no report in the end.
pub(crate) fn make(root: &Path, args: &ExperimentArgs, out: &Path) -> Result<()> {
    let manifest = root.join(MANIFEST);
    let made = if manifest.exists() {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command
            .current_dir(root)
            .args(["run", "--release", "--quiet", "-p", "report", "--manifest-path"])
            .arg(&manifest);
        command.arg("--").arg("--results").arg(out);
        let lang = args.lang.to_possible_value().map_or_else(String::new, |lang| lang.get_name().to_owned());
        command.args(["--lang", &lang, "--formats", &args.formats]);
        if let Some(font) = &args.font {
            command.arg("--font").arg(std::path::absolute(font)?);
        }
        run_to_stderr(&mut command)
    } else {
        Err(anyhow::anyhow!("`{MANIFEST}` is not in this checkout"))
    };
    match made {
        Err(error) if args.report_only => Err(error.context("there is no report")),
        Err(error) => {
            note(&format!("no report: {error:#}"));
            note(&format!("the results are whole, in `{}`; --report_only tries again", out.display()));
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// Runs a command in sight of the user, with its results among the messages on stderr.
fn run_to_stderr(command: &mut Command) -> Result<()> {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let line = words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ");
    note(&format!("$ {line}"));
    let status = command
        .stdout(Stdio::from(std::io::stderr()))
        .status()
        .with_context(|| format!("cannot start `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed: {status}");
    }
    Ok(())
}
