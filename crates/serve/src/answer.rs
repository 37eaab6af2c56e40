//! One request and its answer, between the worker's thread and the connection that waits for it.
//!
//! The worker never waits for a client: it appends to a buffer, and the connection takes out what has gathered. A slow
//! reader finds more at once; the buffer holds one answer at most, which `max_new_tokens` bounds.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use infer::{GenerateConfig, TokenLogprob};
use tokio::sync::Notify;

use crate::fair_queue::Client;
use crate::lock::lock;

/// Prompt and settings of one answer.
#[derive(Debug)]
pub(crate) struct SubmitRequest {
    pub(crate) client: Client,
    pub(crate) prompt: Vec<i64>,
    pub(crate) config: GenerateConfig,
}

/// Cause of an answer's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finish {
    /// End token or stop string.
    Stop,
    /// Limit of tokens.
    Length,
    /// Limit of time.
    Time,
}

impl Finish {
    /// Returns OpenAI's `finish_reason`.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length | Self::Time => "length",
        }
    }

    /// Returns a name that tells all cases apart.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Time => "time",
        }
    }
}

/// Figures of a complete answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) finish: Finish,
    pub(crate) completion_tokens: usize,
    /// From the request to its start.
    pub(crate) queued: Duration,
    /// From the request to its first token.
    pub(crate) first_token: Duration,
    /// From its start to its end.
    pub(crate) answering: Duration,
}

/// Cause of an answer that is not completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It was queued longer than this limit.
    QueuedTooLong(Duration),
    /// The queue is full, and its client has most of the requests in it.
    Displaced,
    /// The model failed.
    Model(String),
    /// The server is being stopped.
    Stopping,
}

/// Part of an answer.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Piece {
    pub(crate) text: String,
    /// Tokens of the answer so far.
    pub(crate) tokens: usize,
    /// Log-probabilities of the tokens that it adds, where they are asked for; the first piece has the prompt's too.
    pub(crate) logprobs: Vec<TokenLogprob>,
}

/// Progress of an answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Update {
    /// More of it.
    Piece(Piece),
    /// Its end; nothing follows.
    End(Result<Outcome, Failure>),
}

#[derive(Debug, Default)]
struct Buffer {
    piece: Piece,
    end: Option<Result<Outcome, Failure>>,
}

#[derive(Debug, Default)]
struct Shared {
    buffer: Mutex<Buffer>,
    changed: Notify,
    cancelled: AtomicBool,
}

/// Connection's side of an answer. Dropping it cancels the request.
#[derive(Debug)]
pub(crate) struct AnswerReceiver(Arc<Shared>);

/// Worker's side of an answer, with the request.
#[derive(Debug)]
pub(crate) struct PendingAnswer {
    shared: Arc<Shared>,
    pub(crate) request: SubmitRequest,
    pub(crate) submitted: Instant,
}

/// Creates both sides of a request.
pub(crate) fn channel(request: SubmitRequest) -> (PendingAnswer, AnswerReceiver) {
    let shared = Arc::new(Shared::default());
    (PendingAnswer { shared: shared.clone(), request, submitted: Instant::now() }, AnswerReceiver(shared))
}

impl AnswerReceiver {
    /// Waits for the next update.
    pub(crate) async fn next(&mut self) -> Update {
        loop {
            let changed = self.0.changed.notified();
            {
                let mut buffer = lock(&self.0.buffer);
                if !buffer.piece.text.is_empty() || !buffer.piece.logprobs.is_empty() {
                    return Update::Piece(std::mem::take(&mut buffer.piece));
                }
                if let Some(end) = buffer.end.take() {
                    return Update::End(end);
                }
            }
            changed.await;
        }
    }

    /// Waits for the whole answer.
    pub(crate) async fn all(mut self) -> Result<(Piece, Outcome), Failure> {
        let mut all = Piece::default();
        loop {
            match self.next().await {
                Update::Piece(Piece { text, tokens, logprobs }) => {
                    all.text.push_str(&text);
                    all.tokens = tokens;
                    all.logprobs.extend(logprobs);
                }
                Update::End(end) => return end.map(|outcome| (all, outcome)),
            }
        }
    }
}

impl Drop for AnswerReceiver {
    fn drop(&mut self) {
        self.0.cancelled.store(true, Ordering::Release);
    }
}

impl PendingAnswer {
    /// Returns the rows that it takes in each step of the model: its beams.
    pub(crate) fn rows(&self) -> usize {
        self.request.config.sampling.num_beams.max(1)
    }

    /// Checks whether the client has gone away.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.shared.cancelled.load(Ordering::Acquire)
    }

    /// Appends to the answer, which has `tokens` tokens now.
    pub(crate) fn write(&self, text: &str, tokens: usize, logprobs: Vec<TokenLogprob>) {
        if !text.is_empty() || !logprobs.is_empty() {
            let mut buffer = lock(&self.shared.buffer);
            buffer.piece.text.push_str(text);
            buffer.piece.tokens = tokens;
            buffer.piece.logprobs.extend(logprobs);
            drop(buffer);
            self.shared.changed.notify_one();
        }
    }

    /// Ends the answer; the first end counts.
    pub(crate) fn end(&self, end: Result<Outcome, Failure>) {
        lock(&self.shared.buffer).end.get_or_insert(end);
        self.shared.changed.notify_one();
    }
}

/// A lost request ends its answer too: no client waits for ever.
impl Drop for PendingAnswer {
    fn drop(&mut self) {
        self.end(Err(Failure::Model("it was given up".to_owned())));
    }
}
