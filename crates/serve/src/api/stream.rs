//! Answers as server-sent events.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;

use crate::activity::Busy;
use crate::answer::{AnswerReceiver, Failure, Outcome, Piece, Update};
use crate::listener::Peer;

/// Events of a streamed answer: each method returns the data of its events.
pub(crate) trait EventStream: Send + 'static {
    /// Opens the stream.
    fn begin(&mut self) -> Vec<String> {
        Vec::new()
    }
    /// Adds to answer `index`.
    fn piece(&mut self, index: usize, piece: &Piece) -> String;
    /// Ends answer `index`.
    fn end(&mut self, index: usize, outcome: &Outcome) -> Vec<String>;
    /// Ends the stream with a failure.
    fn failure(&mut self, failure: Failure) -> Vec<String>;
    /// Closes the stream after all answers.
    fn close(&mut self) -> Vec<String> {
        Vec::new()
    }
}

/// An empty comment this often keeps a waiting client's connection open and finds out when it has gone.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

struct State<E> {
    events: E,
    answers: VecDeque<AnswerReceiver>,
    index: usize,
    pending: VecDeque<String>,
    closed: bool,
    /// The connection is in use as long as this lives.
    _busy: Busy,
}

/// Streams answers, one after another; they are computed at the same time. When the client goes away the response is
/// dropped, and with it the receivers, which cancels their requests.
pub(crate) fn stream(mut events: impl EventStream, answers: Vec<AnswerReceiver>, peer: &Peer) -> Response {
    let pending = events.begin().into();
    let state = State {
        events,
        answers: answers.into(),
        index: 0,
        pending,
        closed: false,
        _busy: peer.activity.begin(),
    };
    let stream = unfold(state, |mut state| async move {
        let data = state.next().await?;
        Some((Ok::<_, Infallible>(Event::default().data(data)), state))
    });
    let headers = [("cache-control", "no-store"), ("x-accel-buffering", "no")];
    (headers, Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))).into_response()
}

impl<E: EventStream> State<E> {
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(data) = self.pending.pop_front() {
                return Some(data);
            }
            if self.closed {
                return None;
            }
            let Some(answer) = self.answers.front_mut() else {
                self.closed = true;
                self.pending.extend(self.events.close());
                continue;
            };
            match answer.next().await {
                Update::Piece(piece) => self.pending.push_back(self.events.piece(self.index, &piece)),
                Update::End(Ok(outcome)) => {
                    self.pending.extend(self.events.end(self.index, &outcome));
                    self.index += 1;
                    self.answers.pop_front();
                }
                Update::End(Err(failure)) => {
                    self.closed = true;
                    self.answers.clear();
                    self.pending.extend(self.events.failure(failure));
                }
            }
        }
    }
}
