//! Signals during training.

use anyhow::Result;
use terminal::{on_first_signal, say};
use trainer::StopFlag;

/// Returns a switch that the first signal turns on.
pub(crate) fn stop_on_signals() -> Result<StopFlag> {
    let flag = StopFlag::new();
    let switch = flag.clone();
    on_first_signal(move || {
        switch.request();
        say("stopping: saving a checkpoint (press Ctrl-C again to end at once)");
    })?;
    Ok(flag)
}
