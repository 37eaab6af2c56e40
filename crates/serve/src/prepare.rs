//! Work on prompts before they are queued: rendering and tokenising, on threads of its own and fair between clients, so
//! that a long prompt holds up neither connections nor others' prompts.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::fair_queue::{Client, FairQueue};
use crate::lock::lock;
use crate::request_queue::Refusal;

/// Threads that prepare prompts.
const THREADS: usize = 2;
/// A prompt costs a client as much as its bytes and this many more.
const LEAST_BYTES: usize = 1024;

struct Job {
    bytes: usize,
    cancelled: Arc<AtomicBool>,
    work: Box<dyn FnOnce() + Send>,
}

struct State {
    queue: FairQueue<Job>,
    stopping: bool,
}

/// Queue of prompts that wait to be prepared.
pub(crate) struct Preparer {
    state: Mutex<State>,
    changed: Condvar,
}

impl std::fmt::Debug for Preparer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Preparer")
            .field("waiting", &lock(&self.state).queue.len())
            .finish_non_exhaustive()
    }
}

/// Cancels a job whose client has gone.
struct Waiting(Arc<AtomicBool>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Preparer {
    /// Starts the threads; at most `capacity` prompts wait for them.
    pub(crate) fn start(capacity: usize) -> std::io::Result<(Arc<Self>, Vec<JoinHandle<()>>)> {
        let state = Mutex::new(State { queue: FairQueue::new(capacity), stopping: false });
        let preparer = Arc::new(Self { state, changed: Condvar::new() });
        let thread = |_| {
            let preparer = preparer.clone();
            std::thread::Builder::new().name("prepare".to_owned()).spawn(move || preparer.work())
        };
        let threads = (0..THREADS).map(thread).collect::<std::io::Result<_>>()?;
        Ok((preparer, threads))
    }

    /// Does `work` on a prompt of so many bytes when it is the client's turn. `None` when it panicked. Dropping the future
    /// cancels work that has not begun.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        client: &Client,
        bytes: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Option<T>, Refusal> {
        let (sender, receiver) = oneshot::channel();
        let waiting = Waiting(Arc::default());
        let job = Job {
            bytes,
            cancelled: waiting.0.clone(),
            work: Box::new(move || {
                let _ = sender.send(work());
            }),
        };
        {
            let mut state = lock(&self.state);
            if state.stopping {
                return Err(Refusal::Stopping);
            }
            if state.queue.push(client, job).is_err_and(|job| {
                state.queue.extract(Job::is_cancelled);
                state.queue.push(client, job).is_err()
            }) {
                return Err(Refusal::Full { retry_after_s: 1 });
            }
        }
        self.changed.notify_one();
        Ok(receiver.await.ok())
    }

    /// Ends the threads; waiting work is dropped.
    pub(crate) fn stop(&self) {
        let mut state = lock(&self.state);
        state.stopping = true;
        state.queue.extract(|_| true);
        drop(state);
        self.changed.notify_all();
    }

    fn work(&self) {
        while let Some(job) = self.next() {
            if !job.is_cancelled() {
                // What waits for it hears of a panic by getting nothing.
                let _ = catch_unwind(AssertUnwindSafe(job.work));
            }
        }
    }

    fn next(&self) -> Option<Job> {
        let mut state = lock(&self.state);
        loop {
            if state.stopping {
                return None;
            }
            if let Some((client, job)) = state.queue.pop() {
                state.queue.charge(&client, (LEAST_BYTES + job.bytes) as u64);
                return Some(job);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Job {
    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }
}
