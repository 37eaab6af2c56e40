//! Answers as server-sent events.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;

use crate::job::{Failure, Job, Outcome, Update};

/// What a stream says, as the data of events.
pub(crate) trait Voice: Send + 'static {
    /// Before anything else.
    fn begin(&mut self) -> Vec<String> {
        Vec::new()
    }
    /// More text of answer `index`, which has so many tokens now.
    fn text(&mut self, index: usize, text: &str, tokens: usize) -> String;
    /// The end of answer `index`.
    fn end(&mut self, index: usize, outcome: &Outcome) -> Vec<String>;
    /// The end of the stream by a failure.
    fn failure(&mut self, failure: Failure) -> Vec<String>;
    /// The end of the stream.
    fn close(&mut self) -> Vec<String> {
        Vec::new()
    }
}

/// An empty comment this often keeps a waiting client's connection open and finds out when it has gone.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

struct Stream<V> {
    voice: V,
    jobs: VecDeque<Job>,
    index: usize,
    said: VecDeque<String>,
    closed: bool,
}

/// A response that says the answers of `jobs`, one after another; they are worked on at the same time. When the client
/// goes away the response is dropped, and the jobs with it.
pub(crate) fn stream(mut voice: impl Voice, jobs: Vec<Job>) -> Response {
    let said = voice.begin().into();
    let state = Stream { voice, jobs: jobs.into(), index: 0, said, closed: false };
    let events = unfold(state, |mut state| async move {
        let data = state.next().await?;
        Some((Ok::<_, Infallible>(Event::default().data(data)), state))
    });
    let headers = [("cache-control", "no-store"), ("x-accel-buffering", "no")];
    (headers, Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))).into_response()
}

impl<V: Voice> Stream<V> {
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(data) = self.said.pop_front() {
                return Some(data);
            }
            if self.closed {
                return None;
            }
            let Some(job) = self.jobs.front_mut() else {
                self.closed = true;
                self.said.extend(self.voice.close());
                continue;
            };
            match job.next().await {
                Update::Text(text, tokens) => self.said.push_back(self.voice.text(self.index, &text, tokens)),
                Update::End(Ok(outcome)) => {
                    self.said.extend(self.voice.end(self.index, &outcome));
                    self.index += 1;
                    self.jobs.pop_front();
                }
                Update::End(Err(failure)) => {
                    self.closed = true;
                    self.jobs.clear();
                    self.said.extend(self.voice.failure(failure));
                }
            }
        }
    }
}
