//! Output and signals.

use std::io::Write;

use anyhow::{Context, Result};
use trainer::StopFlag;

/// Writes data to stdout; a reader that has gone away is no failure.
pub fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// A switch that Ctrl-C and SIGTERM turn on. The second signal ends the process at once.
///
/// # Errors
/// When the handler cannot be installed.
pub fn stop_on_signals() -> Result<StopFlag> {
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
