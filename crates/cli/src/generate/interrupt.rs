//! Ctrl-C while an answer is written.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};

/// Exit code of a program that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// The user's wish to end an answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interrupt {
    asked: Arc<AtomicBool>,
    answering: Arc<AtomicBool>,
}

impl Interrupt {
    /// Listens for Ctrl-C. While an answer is written it ends the answer; otherwise, and when pressed again, the program.
    ///
    /// # Errors
    /// When the handler cannot be installed.
    pub(crate) fn listen() -> Result<Self> {
        let interrupt = Self::default();
        let Self { asked, answering } = interrupt.clone();
        ctrlc::set_handler(move || {
            let again = asked.swap(true, Ordering::Relaxed);
            if again || !answering.load(Ordering::Relaxed) {
                std::process::exit(INTERRUPTED);
            }
        })
        .context("cannot listen for Ctrl-C")?;
        Ok(interrupt)
    }

    /// Marks that from here on an answer is written.
    pub(crate) fn begin(&self) {
        self.asked.store(false, Ordering::Relaxed);
        self.answering.store(true, Ordering::Relaxed);
    }

    /// Marks that the answer is there.
    pub(crate) fn end(&self) {
        self.answering.store(false, Ordering::Relaxed);
        self.asked.store(false, Ordering::Relaxed);
    }

    /// Checks for the wish to stop.
    pub(crate) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }
}
