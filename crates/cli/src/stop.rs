//! Signals during training.

use anyhow::Result;
use terminal::{on_first_signal, say};
use trainer::StopFlag;

/// Turns `flag` on with the first signal, and says so.
pub(crate) fn stop_on_signals(flag: &StopFlag) -> Result<()> {
    switch_on_signals(flag, || say("stopping: saving a checkpoint (press Ctrl-C again to end at once)"))
}

/// Turns `flag` on with the first signal, and calls `tell`.
pub(crate) fn switch_on_signals(flag: &StopFlag, tell: impl FnOnce() + Send + 'static) -> Result<()> {
    let switch = flag.clone();
    on_first_signal(move || {
        switch.request();
        tell();
    })?;
    Ok(())
}
