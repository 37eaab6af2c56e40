//! What a connection is doing: answering a request, or waiting for one.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Waker;

use tokio::time::Instant;

use crate::lock::lock;

/// State of a connection, shared by its stream, its requests and the listener.
#[derive(Debug)]
pub(crate) struct Activity {
    id: u64,
    /// Requests whose head is complete and whose answer is not.
    requests: AtomicUsize,
    /// When it was opened, or last gave bytes to the client.
    since: Mutex<Instant>,
    closed: AtomicBool,
    /// Wakes whoever reads from it.
    reader: Mutex<Option<Waker>>,
}

impl Default for Activity {
    fn default() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            requests: AtomicUsize::new(0),
            since: Mutex::new(Instant::now()),
            closed: AtomicBool::new(false),
            reader: Mutex::new(None),
        }
    }
}

/// A request that is being answered, until this is dropped.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Activity>);

impl Activity {
    /// Returns a number that no other connection has; later ones have higher numbers.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Begins a request.
    pub(crate) fn begin(self: &Arc<Self>) -> Busy {
        self.requests.fetch_add(1, Ordering::AcqRel);
        Busy(self.clone())
    }

    /// Returns since when it waits for a request's head, whether or not a part of it has come; `None` while it answers one.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        (self.requests.load(Ordering::Acquire) == 0).then(|| *lock(&self.since))
    }

    /// Notes that the client has taken bytes.
    pub(crate) fn wrote(&self) {
        *lock(&self.since) = Instant::now();
    }

    /// Ends the connection at its next read, which is now for an idle one.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        if let Some(reader) = lock(&self.reader).take() {
            reader.wake();
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Keeps the waker of a pending read.
    pub(crate) fn wait(&self, reader: &Waker) {
        *lock(&self.reader) = Some(reader.clone());
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.wrote();
        self.0.requests.fetch_sub(1, Ordering::AcqRel);
    }
}
