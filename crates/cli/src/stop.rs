//! Signals during training.

use anyhow::Result;
use terminal::{on_first_signal, say};
use trainer::StopFlag;

/// Returns a switch that the first signal turns on, and says so.
pub(crate) fn stop_on_signals() -> Result<StopFlag> {
    switch_on_signals(|| say("stopping: saving a checkpoint (press Ctrl-C again to end at once)"))
}

/// Returns a switch that the first signal turns on, and calls `tell`.
pub(crate) fn switch_on_signals(tell: impl FnOnce() + Send + 'static) -> Result<StopFlag> {
    let flag = StopFlag::new();
    let switch = flag.clone();
    on_first_signal(move || {
        switch.request();
        tell();
    })?;
    Ok(flag)
}
