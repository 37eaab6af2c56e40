//! One request between the engine's thread and the connection that waits for it.
//!
//! The engine never waits for a client: it adds text to a mailbox, and the connection takes out what has gathered. A slow
//! reader finds more at once; the mailbox holds one answer at most, which `max_new_tokens` bounds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use infer::GenerateConfig;
use tokio::sync::Notify;

use crate::engine::lock;

/// What is asked of an engine.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) prompt: Vec<i64>,
    pub(crate) config: GenerateConfig,
}

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finish {
    /// An end token or a stop string.
    Stop,
    /// The limit of tokens.
    Length,
    /// The limit of time.
    Time,
}

impl Finish {
    /// OpenAI's word for it.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length | Self::Time => "length",
        }
    }

    /// The word that tells all cases apart.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Time => "time",
        }
    }
}

/// An answer that is complete.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) finish: Finish,
    pub(crate) completion_tokens: usize,
    /// From the request to its turn.
    pub(crate) queued: Duration,
    /// From the request to its first token.
    pub(crate) first_token: Duration,
    /// From its turn to its end.
    pub(crate) answering: Duration,
}

/// An answer that will not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It waited for its turn for too long.
    WaitedTooLong(Duration),
    /// The model failed.
    Model(String),
    /// The server is being stopped.
    Stopping,
}

/// What comes out of a mailbox.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Update {
    /// More of the answer, and the tokens of it so far.
    Text(String, usize),
    /// Its end; nothing follows.
    End(Result<Outcome, Failure>),
}

#[derive(Debug, Default)]
struct Mail {
    text: String,
    tokens: usize,
    end: Option<Result<Outcome, Failure>>,
}

#[derive(Debug, Default)]
struct Mailbox {
    mail: std::sync::Mutex<Mail>,
    news: Notify,
    gone: AtomicBool,
}

/// The connection's side. To drop it is to cancel the request.
#[derive(Debug)]
pub(crate) struct Job(Arc<Mailbox>);

/// The engine's side.
#[derive(Debug)]
pub(crate) struct Ticket {
    mailbox: Arc<Mailbox>,
    pub(crate) order: Order,
    pub(crate) asked: Instant,
}

/// The two sides of a request.
pub(crate) fn pair(order: Order) -> (Ticket, Job) {
    let mailbox = Arc::new(Mailbox::default());
    (Ticket { mailbox: mailbox.clone(), order, asked: Instant::now() }, Job(mailbox))
}

impl Job {
    /// Waits for the next update.
    pub(crate) async fn next(&mut self) -> Update {
        loop {
            let news = self.0.news.notified();
            {
                let mut mail = lock(&self.0.mail);
                if !mail.text.is_empty() {
                    let text = std::mem::take(&mut mail.text);
                    return Update::Text(text, mail.tokens);
                }
                if let Some(end) = mail.end.take() {
                    return Update::End(end);
                }
            }
            news.await;
        }
    }

    /// Waits for the whole answer.
    pub(crate) async fn all(mut self) -> Result<(String, Outcome), Failure> {
        let mut text = String::new();
        loop {
            match self.next().await {
                Update::Text(more, _) => text.push_str(&more),
                Update::End(end) => return end.map(|outcome| (text, outcome)),
            }
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.0.gone.store(true, Ordering::Release);
    }
}

impl Ticket {
    /// Whether the client has gone away.
    pub(crate) fn is_gone(&self) -> bool {
        self.mailbox.gone.load(Ordering::Acquire)
    }

    /// Adds to the answer, which has so many tokens now.
    pub(crate) fn write(&self, text: &str, tokens: usize) {
        if !text.is_empty() {
            let mut mail = lock(&self.mailbox.mail);
            mail.text.push_str(text);
            mail.tokens = tokens;
            drop(mail);
            self.mailbox.news.notify_one();
        }
    }

    /// Ends the answer; what was said first counts.
    pub(crate) fn end(&self, end: Result<Outcome, Failure>) {
        lock(&self.mailbox.mail).end.get_or_insert(end);
        self.mailbox.news.notify_one();
    }
}

/// A ticket that is lost ends its answer too: nobody waits for ever.
impl Drop for Ticket {
    fn drop(&mut self) {
        self.end(Err(Failure::Model("it was given up".to_owned())));
    }
}
