//! `runs`: training runs beside each other.

mod args;
mod report;

pub use args::RunsArgs;

use anyhow::Result;
use run_page::{RunRecord, page};
use terminal::print_result;
use weights::atomic_write;

/// Runs the program.
///
/// # Errors
/// With what the user can do about it.
#[expect(clippy::needless_pass_by_value, reason = "the arguments end with the program")]
pub fn run(args: RunsArgs) -> Result<()> {
    let runs = args.dirs.iter().map(|dir| RunRecord::read(dir)).collect::<Result<Vec<_>, _>>()?;
    if let Some(path) = &args.html {
        atomic_write(path, |file| file.write_all(page(&runs).as_bytes()))?;
        tracing::info!("`{}` shows the curves", path.display());
    }
    Ok(print_result(&if args.json { report::json(&runs)? } else { report::table(&runs) })?)
}
