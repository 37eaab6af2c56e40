//! One source's thread: it owns the model and continues all requests of the source together.

use std::collections::HashMap;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use infer::{BatchEvent, Batcher, FinishReason, Generation, InferError, Request, RequestId, TokenText};
use nn_core::CausalLm;

use crate::Limits;
use crate::fair_queue::FairQueue;
use crate::job::{Failure, Finish, Job, Order, Outcome, Ticket, pair};
use crate::metrics::{Answer, SourceMetrics};

/// Who asks: an address, and the user that the request names, if any.
pub(crate) type Client = (IpAddr, String);

/// Locks a mutex; a thread that panicked while it held it leaves nothing half-done here.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a request is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Too many wait; in so many seconds there may be room.
    Full { retry_after_s: u64 },
    /// The server is being stopped.
    Stopping,
}

#[derive(Debug)]
struct State {
    queue: FairQueue<Client, Ticket>,
    stopping: bool,
    /// How long the last answers took, averaged.
    answer_s: f64,
}

/// The way to a source's thread.
#[derive(Debug)]
pub(crate) struct Engine {
    state: Mutex<State>,
    news: Condvar,
    limits: Limits,
    pub(crate) metrics: SourceMetrics,
}

impl Engine {
    pub(crate) fn new(source: &str, limits: &Limits) -> Self {
        let queue = FairQueue::new(limits.queue_len);
        let state = Mutex::new(State { queue, stopping: false, answer_s: 1.0 });
        Self { state, news: Condvar::new(), limits: limits.clone(), metrics: SourceMetrics::new(source) }
    }

    /// Puts a request into the queue.
    pub(crate) fn submit(&self, client: Client, order: Order) -> Result<Job, Refusal> {
        let (ticket, job) = pair(order);
        let mut state = lock(&self.state);
        if state.stopping {
            return Err(Refusal::Stopping);
        }
        if state.queue.len() >= self.limits.queue_len {
            self.forget_the_gone(&mut state.queue);
        }
        if state.queue.push(client, ticket).is_err() {
            self.metrics.count(Answer::Refused);
            let rounds = state.queue.len().div_ceil(self.limits.rows.max(1)) as f64;
            return Err(Refusal::Full {
                retry_after_s: (rounds * state.answer_s).ceil().clamp(1.0, 60.0) as u64,
            });
        }
        self.metrics.queue_depth.store(state.queue.len() as u64, Ordering::Relaxed);
        drop(state);
        self.news.notify_one();
        Ok(job)
    }

    /// Ends the thread: what waits or is being answered fails as [`Failure::Stopping`].
    pub(crate) fn stop(&self) {
        lock(&self.state).stopping = true;
        self.news.notify_all();
    }

    /// The thread's work: returns when the engine is stopped.
    pub(crate) fn run(&self, model: &dyn CausalLm, text: &dyn TokenText, capacity: usize) {
        while !lock(&self.state).stopping {
            match Batcher::new(model, text, self.limits.rows, capacity) {
                Ok(batcher) => {
                    let desk = Desk { engine: self, batcher, active: HashMap::new() };
                    // A defect in one pass is no reason to leave all later requests without an answer.
                    if catch_unwind(AssertUnwindSafe(|| desk.work())).is_err() {
                        tracing::error!("a step panicked; a new session is opened");
                    }
                }
                Err(error) => {
                    // The memory may be there again for the next request.
                    let reason = sentence(&error);
                    tracing::error!("cannot open a session: {reason}");
                    if let Some(ticket) = self.wait_for_one() {
                        self.metrics.count(Answer::Failed);
                        ticket.end(Err(Failure::Model(reason)));
                    }
                }
            }
        }
        for ticket in lock(&self.state).queue.extract(|_| true) {
            ticket.end(Err(Failure::Stopping));
        }
    }

    /// The next request, whenever it comes; `None` when the engine is stopped.
    fn wait_for_one(&self) -> Option<Ticket> {
        let mut state = lock(&self.state);
        loop {
            if state.stopping {
                return None;
            }
            if let Some(ticket) = state.queue.pop() {
                return Some(ticket);
            }
            state = self.news.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn forget_the_gone(&self, queue: &mut FairQueue<Client, Ticket>) {
        let gone = queue.extract(Ticket::is_gone);
        for _ in &gone {
            self.metrics.count(Answer::Cancelled);
        }
    }
}

/// The thread's side while a session is open.
struct Desk<'a> {
    engine: &'a Engine,
    batcher: Batcher<'a>,
    active: HashMap<RequestId, Active>,
}

/// A request that is being answered.
struct Active {
    ticket: Ticket,
    begun: Instant,
    first_token: Option<Duration>,
    last_token: Instant,
    tokens: usize,
    /// Bytes of the answer that were given to the client.
    written: usize,
}

impl Desk<'_> {
    /// Answers until the engine is stopped.
    fn work(mut self) {
        loop {
            if !self.admit() {
                break;
            }
            self.let_go();
            self.report();
            if self.active.is_empty() {
                continue;
            }
            for event in self.batcher.step() {
                self.handle(event);
            }
            self.report();
        }
        for (_, active) in self.active.drain() {
            self.engine.metrics.count(Answer::Failed);
            active.ticket.end(Err(Failure::Stopping));
        }
        self.report();
    }

    /// Takes in what has room, waiting when there is nothing to do. False when the engine is stopped.
    fn admit(&mut self) -> bool {
        let engine = self.engine;
        let mut state = lock(&engine.state);
        while self.active.is_empty() && state.queue.len() == 0 && !state.stopping {
            state = engine.news.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.stopping {
            return false;
        }
        let limit = engine.limits.queue_time;
        engine.forget_the_gone(&mut state.queue);
        for ticket in state.queue.extract(|ticket| ticket.asked.elapsed() > limit) {
            engine.metrics.count(Answer::Refused);
            ticket.end(Err(Failure::WaitedTooLong(limit)));
        }
        let mut free = self.batcher.free_rows();
        let mut taken = Vec::new();
        while let Some(needed) =
            state.queue.peek().map(|ticket| ticket.order.config.sampling.num_beams.max(1))
        {
            // The next in line waits for its rows; nobody overtakes, or many small requests would starve a large one.
            if needed > free {
                break;
            }
            free -= needed;
            taken.extend(state.queue.pop());
        }
        engine.metrics.queue_depth.store(state.queue.len() as u64, Ordering::Relaxed);
        drop(state);
        for ticket in taken {
            self.begin(ticket);
        }
        true
    }

    fn begin(&mut self, mut ticket: Ticket) {
        let prompt = std::mem::take(&mut ticket.order.prompt);
        let config = ticket.order.config.clone();
        let prompt_tokens = prompt.len() as u64;
        match self.batcher.add(Request { prompt, config }) {
            Ok(id) => {
                self.engine.metrics.prompt_tokens.fetch_add(prompt_tokens, Ordering::Relaxed);
                let now = Instant::now();
                let active =
                    Active { ticket, begun: now, first_token: None, last_token: now, tokens: 0, written: 0 };
                self.active.insert(id, active);
            }
            Err(error) => {
                self.engine.metrics.count(Answer::Failed);
                ticket.end(Err(Failure::Model(sentence(&error))));
            }
        }
    }

    /// Ends what nobody waits for any more, and what has taken its time.
    fn let_go(&mut self) {
        let limit = self.engine.limits.answer_time;
        let over = |active: &Active| active.ticket.is_gone() || active.begun.elapsed() > limit;
        let ids: Vec<RequestId> =
            self.active.iter().filter(|(_, active)| over(active)).map(|(&id, _)| id).collect();
        for id in ids {
            self.batcher.cancel(id);
            let Some(active) = self.active.remove(&id) else { continue };
            if active.ticket.is_gone() {
                self.engine.metrics.count(Answer::Cancelled);
            } else {
                self.engine.metrics.count(Answer::Time);
                active.ticket.end(Ok(active.outcome(Finish::Time, active.tokens)));
            }
        }
    }

    fn handle(&mut self, event: BatchEvent) {
        match event {
            BatchEvent::Token { id, text, .. } => {
                let Some(active) = self.active.get_mut(&id) else { return };
                active.token(&self.engine.metrics);
                active.written += text.len();
                active.ticket.write(&text, active.tokens);
            }
            BatchEvent::Finished { id, generation } => {
                let Some(active) = self.active.remove(&id) else { return };
                self.finish(&active, &generation);
            }
            BatchEvent::Failed { id, error } => {
                let Some(active) = self.active.remove(&id) else { return };
                let reason = sentence(&error);
                tracing::error!("an answer failed: {reason}");
                self.engine.metrics.count(Answer::Failed);
                active.ticket.end(Err(Failure::Model(reason)));
            }
        }
    }

    fn finish(&self, active: &Active, generation: &Generation) {
        let Engine { metrics, state, .. } = self.engine;
        // A stream gives all of the text; a search over beams gives it here, at once.
        active.ticket.write(generation.text.get(active.written..).unwrap_or_default(), generation.ids.len());
        let (finish, answer) = match generation.finish {
            FinishReason::Eos | FinishReason::Stop => (Finish::Stop, Answer::Stop),
            FinishReason::Length | FinishReason::Cancelled => (Finish::Length, Answer::Length),
        };
        let tokens = generation.ids.len();
        metrics.generated_tokens.fetch_add(tokens.saturating_sub(active.tokens) as u64, Ordering::Relaxed);
        metrics.count(answer);
        let outcome = active.outcome(finish, tokens);
        let mut state = lock(state);
        state.answer_s = 0.8 * state.answer_s + 0.2 * outcome.answering.as_secs_f64();
        drop(state);
        active.ticket.end(Ok(outcome));
    }

    fn report(&self) {
        let rows = self.engine.limits.rows.saturating_sub(self.batcher.free_rows());
        self.engine.metrics.active_rows.store(rows as u64, Ordering::Relaxed);
    }
}

impl Active {
    fn token(&mut self, metrics: &SourceMetrics) {
        let now = Instant::now();
        if self.first_token.is_none() {
            let after = now - self.ticket.asked;
            metrics.first_token(after);
            self.first_token = Some(after);
        } else {
            metrics.next_token(now - self.last_token);
        }
        self.last_token = now;
        self.tokens += 1;
        metrics.generated_tokens.fetch_add(1, Ordering::Relaxed);
    }

    fn outcome(&self, finish: Finish, completion_tokens: usize) -> Outcome {
        Outcome {
            finish,
            completion_tokens,
            queued: self.begun - self.ticket.asked,
            first_token: self.first_token.unwrap_or_else(|| self.ticket.asked.elapsed()),
            answering: self.begun.elapsed(),
        }
    }
}

/// An error with its causes, in one line.
fn sentence(error: &InferError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
