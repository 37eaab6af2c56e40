//! Queue of one source's requests, between the connections and the worker thread.

use std::sync::atomic::Ordering;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::Limits;
use crate::answer::{AnswerReceiver, Failure, PendingAnswer, SubmitRequest, channel};
use crate::fair_queue::FairQueue;
use crate::lock::lock;
use crate::metrics::{RequestEnd, SourceMetrics};

/// Cause of a request that is not queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Too many wait; after this time there may be room.
    Full { retry_after_s: u64 },
    /// The server is being stopped.
    Stopping,
}

#[derive(Debug)]
struct State {
    queue: FairQueue<PendingAnswer>,
    stopping: bool,
    /// Moving average of the seconds that an answer takes.
    answer_s: f64,
}

/// Requests of one source that wait for its worker, bounded by its limits.
#[derive(Debug)]
pub(crate) struct RequestQueue {
    state: Mutex<State>,
    changed: Condvar,
    pub(crate) limits: Limits,
    pub(crate) metrics: SourceMetrics,
}

impl RequestQueue {
    pub(crate) fn new(source: &str, limits: &Limits) -> Self {
        let queue = FairQueue::new(limits.queue_len);
        let state = Mutex::new(State { queue, stopping: false, answer_s: 1.0 });
        Self { state, changed: Condvar::new(), limits: limits.clone(), metrics: SourceMetrics::new(source) }
    }

    /// Queues the requests of one client: all, or none.
    pub(crate) fn submit(&self, requests: Vec<SubmitRequest>) -> Result<Vec<AnswerReceiver>, Refusal> {
        let mut state = lock(&self.state);
        if state.stopping {
            return Err(Refusal::Stopping);
        }
        if state.queue.len() + requests.len() > self.limits.queue_len {
            self.drop_cancelled(&mut state.queue);
        }
        let mut receivers = Vec::with_capacity(requests.len());
        for request in requests {
            let client = request.client.clone();
            let (answer, receiver) = channel(request);
            if state.queue.len() >= self.limits.queue_len
                && let Some(displaced) = state.queue.make_room(&client)
            {
                self.metrics.count(RequestEnd::Refused);
                displaced.end(Err(Failure::Displaced));
            }
            if state.queue.push(&client, answer).is_err() {
                // Those before it are cancelled with their receivers.
                drop(receivers);
                self.drop_cancelled(&mut state.queue);
                self.metrics.count(RequestEnd::Refused);
                let rounds = state.queue.len().div_ceil(self.limits.rows.max(1)) as f64;
                return Err(Refusal::Full {
                    retry_after_s: (rounds * state.answer_s).ceil().clamp(1.0, 60.0) as u64,
                });
            }
            receivers.push(receiver);
        }
        self.metrics.queue_depth.store(state.queue.len() as u64, Ordering::Relaxed);
        drop(state);
        self.changed.notify_one();
        Ok(receivers)
    }

    /// Charges clients for one step of the model over their answers.
    pub(crate) fn charge<'a>(&self, answers: impl Iterator<Item = &'a PendingAnswer>) {
        let mut state = lock(&self.state);
        answers.for_each(|answer| state.queue.charge(&answer.request.client, answer.rows() as u64));
    }

    /// Stops the worker: requests that wait or are being answered fail as [`Failure::Stopping`].
    pub(crate) fn stop(&self) {
        lock(&self.state).stopping = true;
        self.changed.notify_all();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        lock(&self.state).stopping
    }

    /// Takes the requests that fit into `free` rows; a beam counts as one row. Waits for a request when the worker is idle.
    /// `None` when the server is stopping.
    pub(crate) fn admit(&self, idle: bool, mut free: usize) -> Option<Vec<PendingAnswer>> {
        let mut state = lock(&self.state);
        while idle && state.queue.len() == 0 && !state.stopping {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.stopping {
            return None;
        }
        let limit = self.limits.queue_time;
        self.drop_cancelled(&mut state.queue);
        for answer in state.queue.extract(|answer| answer.submitted.elapsed() > limit) {
            self.metrics.count(RequestEnd::Refused);
            answer.end(Err(Failure::QueuedTooLong(limit)));
        }
        let mut taken = Vec::new();
        while let Some(answer) = state.queue.peek() {
            let needed = answer.rows();
            // The next in line waits for its rows; nobody overtakes, or many small requests would starve a large one.
            if needed > free {
                break;
            }
            free -= needed;
            if let Some((client, answer)) = state.queue.pop() {
                state.queue.charge(&client, answer.request.prompt.len() as u64);
                taken.push(answer);
            }
        }
        self.metrics.queue_depth.store(state.queue.len() as u64, Ordering::Relaxed);
        Some(taken)
    }

    /// Waits for the next request; `None` when the server is stopping.
    pub(crate) fn wait_for_one(&self) -> Option<PendingAnswer> {
        let mut state = lock(&self.state);
        loop {
            if state.stopping {
                return None;
            }
            if let Some((_, answer)) = state.queue.pop() {
                return Some(answer);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Fails all waiting requests as [`Failure::Stopping`].
    pub(crate) fn refuse_waiting(&self) {
        for answer in lock(&self.state).queue.extract(|_| true) {
            answer.end(Err(Failure::Stopping));
        }
    }

    /// Records the time of an answer, from which the waiting time of others is estimated.
    pub(crate) fn answer_took(&self, time: Duration) {
        let mut state = lock(&self.state);
        state.answer_s = 0.8 * state.answer_s + 0.2 * time.as_secs_f64();
    }

    fn drop_cancelled(&self, queue: &mut FairQueue<PendingAnswer>) {
        for _ in queue.extract(PendingAnswer::is_cancelled) {
            self.metrics.count(RequestEnd::Cancelled);
        }
    }
}
