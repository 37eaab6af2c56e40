//! Worker thread of one source: owns the model and continues all requests of the source together.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use infer::{BatchEvent, Batcher, FinishReason, Generation, InferError, Request, RequestId, TokenText};
use nn_core::CausalLm;

use crate::answer::{Failure, Finish, Outcome, PendingAnswer};
use crate::metrics::{RequestEnd, SourceMetrics};
use crate::request_queue::RequestQueue;

/// Answers the requests of `queue` until it is stopped.
pub(crate) fn run(queue: &RequestQueue, model: &dyn CausalLm, text: &dyn TokenText, capacity: usize) {
    while !queue.is_stopping() {
        match Batcher::new(model, text, queue.limits.rows, capacity) {
            Ok(batcher) => {
                let worker = Worker { queue, batcher, active: HashMap::new() };
                // A panic in one step must not leave all later requests without an answer.
                if catch_unwind(AssertUnwindSafe(|| worker.run())).is_err() {
                    tracing::error!("a step panicked; a new session is opened");
                }
            }
            Err(error) => {
                // The memory may be there again for the next request.
                let reason = sentence(&error);
                tracing::error!("cannot open a session: {reason}");
                if let Some(answer) = queue.wait_for_one() {
                    queue.metrics.count(RequestEnd::Failed);
                    answer.end(Err(Failure::Model(reason)));
                }
            }
        }
    }
    queue.refuse_waiting();
}

/// Requests being answered in one decoding session.
struct Worker<'a> {
    queue: &'a RequestQueue,
    batcher: Batcher<'a>,
    active: HashMap<RequestId, Active>,
}

/// Request being answered.
struct Active {
    answer: PendingAnswer,
    started: Instant,
    first_token: Option<Duration>,
    last_token: Instant,
    tokens: usize,
    /// Bytes of the answer given to the client.
    written: usize,
}

impl Worker<'_> {
    /// Answers until the queue is stopped.
    fn run(mut self) {
        loop {
            if !self.admit() {
                break;
            }
            self.end_expired();
            self.update_gauges();
            if self.active.is_empty() {
                continue;
            }
            self.queue.charge(self.active.values().map(|active| &active.answer));
            for event in self.batcher.step() {
                self.handle(event);
            }
            self.update_gauges();
        }
        for (_, active) in self.active.drain() {
            self.queue.metrics.count(RequestEnd::Failed);
            active.answer.end(Err(Failure::Stopping));
        }
        self.update_gauges();
    }

    /// Starts the requests that have room, waiting for one when there is nothing to do. False when the server is stopping.
    fn admit(&mut self) -> bool {
        let Some(answers) = self.queue.admit(self.active.is_empty(), self.batcher.free_rows()) else {
            return false;
        };
        for answer in answers {
            self.start(answer);
        }
        true
    }

    fn start(&mut self, mut answer: PendingAnswer) {
        let prompt = std::mem::take(&mut answer.request.prompt);
        let config = answer.request.config.clone();
        let prompt_tokens = prompt.len() as u64;
        match self.batcher.add(Request { prompt, config }) {
            Ok(id) => {
                self.queue.metrics.prompt_tokens.fetch_add(prompt_tokens, Ordering::Relaxed);
                let now = Instant::now();
                let active = Active {
                    answer,
                    started: now,
                    first_token: None,
                    last_token: now,
                    tokens: 0,
                    written: 0,
                };
                self.active.insert(id, active);
            }
            Err(error) => {
                self.queue.metrics.count(RequestEnd::Failed);
                answer.end(Err(Failure::Model(sentence(&error))));
            }
        }
    }

    /// Ends answers whose client has gone away or whose time is over.
    fn end_expired(&mut self) {
        let limit = self.queue.limits.answer_time;
        let over = |active: &Active| active.answer.is_cancelled() || active.started.elapsed() > limit;
        let ids: Vec<RequestId> =
            self.active.iter().filter(|(_, active)| over(active)).map(|(&id, _)| id).collect();
        for id in ids {
            self.batcher.cancel(id);
            let Some(active) = self.active.remove(&id) else { continue };
            if active.answer.is_cancelled() {
                self.queue.metrics.count(RequestEnd::Cancelled);
            } else {
                self.queue.metrics.count(RequestEnd::Time);
                active.answer.end(Ok(active.outcome(Finish::Time, active.tokens)));
            }
        }
    }

    fn handle(&mut self, event: BatchEvent) {
        match event {
            BatchEvent::Token { id, text, logprobs } => {
                let Some(active) = self.active.get_mut(&id) else { return };
                active.token(&self.queue.metrics);
                active.written += text.len();
                active.answer.write(&text, active.tokens, logprobs);
            }
            BatchEvent::Finished { id, generation } => {
                let Some(active) = self.active.remove(&id) else { return };
                self.finish(&active, &generation);
            }
            BatchEvent::Failed { id, error } => {
                let Some(active) = self.active.remove(&id) else { return };
                let reason = sentence(&error);
                tracing::error!("an answer failed: {reason}");
                self.queue.metrics.count(RequestEnd::Failed);
                active.answer.end(Err(Failure::Model(reason)));
            }
        }
    }

    fn finish(&self, active: &Active, generation: &Generation) {
        let metrics = &self.queue.metrics;
        // A stream has given the text already; a beam search gives all of it here.
        let rest = generation.text.get(active.written..).unwrap_or_default();
        active.answer.write(rest, generation.ids.len(), Vec::new());
        let (finish, end) = match generation.finish {
            FinishReason::Eos | FinishReason::Stop => (Finish::Stop, RequestEnd::Stop),
            FinishReason::Length | FinishReason::Cancelled => (Finish::Length, RequestEnd::Length),
        };
        let tokens = generation.ids.len();
        metrics.generated_tokens.fetch_add(tokens.saturating_sub(active.tokens) as u64, Ordering::Relaxed);
        metrics.count(end);
        let outcome = active.outcome(finish, tokens);
        self.queue.answer_took(outcome.answering);
        active.answer.end(Ok(outcome));
    }

    fn update_gauges(&self) {
        let rows = self.queue.limits.rows.saturating_sub(self.batcher.free_rows());
        self.queue.metrics.active_rows.store(rows as u64, Ordering::Relaxed);
    }
}

impl Active {
    fn token(&mut self, metrics: &SourceMetrics) {
        let now = Instant::now();
        if self.first_token.is_none() {
            let after = now - self.answer.submitted;
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
            queued: self.started - self.answer.submitted,
            first_token: self.first_token.unwrap_or_else(|| self.answer.submitted.elapsed()),
            answering: self.started.elapsed(),
        }
    }
}

/// Joins an error and its causes in one line.
fn sentence(error: &InferError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
