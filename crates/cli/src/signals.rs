//! Ctrl-C and SIGTERM during training.

use anyhow::{Context, Result};
use trainer::StopFlag;

/// Returns a switch that Ctrl-C and SIGTERM turn on. The second signal ends the process at once.
///
/// # Errors
/// When the handler cannot be installed.
pub(crate) fn stop_on_signals() -> Result<StopFlag> {
    let flag = StopFlag::new();
    let handle = flag.clone();
    ctrlc::set_handler(move || {
        if handle.is_requested() {
            #[expect(clippy::exit, reason = "the user insists; a checkpoint on disk is whole at any moment")]
            std::process::exit(130);
        }
        eprintln!("stopping: saving a checkpoint (press Ctrl-C again to end at once)");
        handle.request();
    })
    .context("cannot listen for Ctrl-C")?;
    Ok(flag)
}
