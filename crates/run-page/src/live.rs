//! The live page's server: what it shows, and the button that stops the run.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde_json::{Value, json};
use serve::Site;
use trainer::StopFlag;

use crate::page::live_page;
use crate::record::to_json;
use crate::{RunRecord, State};

/// A run that the trainer and the server share.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Inner>);

struct Inner {
    run: Mutex<RunRecord>,
    begun: Instant,
    /// Milliseconds after `begun` at which the figures were asked for last, plus one; 0 for never.
    asked: AtomicU64,
}

impl fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Shared")
    }
}

impl Shared {
    pub(crate) fn new(run: RunRecord) -> Self {
        Self(Arc::new(Inner { run: Mutex::new(run), begun: Instant::now(), asked: AtomicU64::new(0) }))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, RunRecord> {
        self.0.run.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the milliseconds that the process has run, and those at which a page asked last.
    pub(crate) fn asked(&self) -> (u64, Option<u64>) {
        (self.now(), self.0.asked.load(Ordering::SeqCst).checked_sub(1))
    }

    fn now(&self) -> u64 {
        self.0.begun.elapsed().as_millis() as u64
    }
}

/// The site of a run.
pub(crate) struct LiveSite {
    pub(crate) shared: Shared,
    pub(crate) stop: StopFlag,
}

impl Site for LiveSite {
    fn page(&self) -> String {
        live_page()
    }

    fn get(&self, name: &str) -> Option<Value> {
        (name == "run").then(|| {
            let run = self.shared.lock().clone();
            self.shared.0.asked.store(self.shared.now() + 1, Ordering::SeqCst);
            to_json(&[run])
        })
    }

    fn post(&self, name: &str) -> Option<Value> {
        (name == "stop").then(|| {
            self.stop.request();
            let mut run = self.shared.lock();
            if run.state == State::Running {
                run.state = State::Stopping;
            }
            json!({ "state": run.state })
        })
    }
}
