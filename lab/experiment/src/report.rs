//! The call of the report package, which makes documents of results alone.

use std::path::Path;

use anyhow::Result;

use super::args::ExperimentArgs;
use xtask::output::note;
use xtask::process::run_to_stderr;
use xtask::workspace::Workspace;

/// The workspace of the package, which takes minutes to build.
const MANIFEST: &str = "lab/Cargo.toml";

/// Makes the report. Without the package, or when it fails, the results stay and that is said; asked for by
/// `--report_only`, it is a failure. `results`: the directory of each experiment.
pub(crate) fn make(
    workspace: &Workspace,
    args: &ExperimentArgs,
    results: &[&Path],
    out: &Path,
) -> Result<()> {
    let manifest = workspace.path(MANIFEST);
    let made = if manifest.exists() {
        let mut command = workspace.cargo();
        command.args(["run", "--release", "--quiet", "-p", "report", "--manifest-path"]).arg(&manifest);
        command.arg("--").arg("--out").arg(out);
        for dir in results {
            command.arg("--results").arg(dir);
        }
        command.args(["--lang", &args.lang, "--formats", &args.formats]);
        command.args(args.cover.flags());
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
