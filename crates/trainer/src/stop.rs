//! Stopping a run early.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A switch that a signal handler or another thread sets to end a run cleanly. Clones share the switch.
#[derive(Debug, Clone, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// Creates a flag that is not set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Requests the stop.
    pub fn request(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Checks for a request.
    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl From<Arc<AtomicBool>> for StopFlag {
    fn from(switch: Arc<AtomicBool>) -> Self {
        Self(switch)
    }
}
