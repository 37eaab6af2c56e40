//! A connection that fails once it stalls: while a request's head is awaited, or while the client takes nothing.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

use crate::activity::Activity;
use crate::places::Place;

/// Stream of a connection. A head has `idle_time` from the connection's beginning, or from the end of the answer before, to
/// be complete, however its bytes come; so an idle connection ends after that time too.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    place: Place,
    idle_time: Duration,
    reading: Pin<Box<Sleep>>,
    /// Runs while the client takes nothing.
    writing: Option<Pin<Box<Sleep>>>,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, place: Place, idle_time: Duration) -> Self {
        Self { stream, place, idle_time, reading: Box::pin(sleep(idle_time)), writing: None }
    }

    pub(crate) fn activity(&self) -> Arc<Activity> {
        self.place.activity.clone()
    }

    /// Returns the time at which a read fails, unless a request or a write is going on.
    fn deadline(&self) -> Option<Instant> {
        let since = self.place.activity.idle_since().filter(|_| self.writing.is_none())?;
        Some(since + self.idle_time)
    }

    /// Fails when the time for a head is over; else wakes the reader at that time.
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if self.place.activity.is_closed() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        loop {
            let now = Instant::now();
            let deadline = self.deadline();
            if deadline.is_some_and(|deadline| deadline <= now) {
                return Err(io::ErrorKind::TimedOut.into());
            }
            // During a request it looks again later.
            self.reading.as_mut().reset(deadline.unwrap_or(now + self.idle_time));
            if self.reading.as_mut().poll(context).is_pending() {
                return Ok(());
            }
        }
    }

    /// Passes the result of a write on; a pending one fails when the time is over.
    fn after_write(
        &mut self,
        context: &mut Context<'_>,
        poll: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if poll.is_ready() {
            self.writing = None;
            self.place.activity.wrote();
            return poll;
        }
        let idle_time = self.idle_time;
        let timer = self.writing.get_or_insert_with(|| Box::pin(sleep(idle_time)));
        timer.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Before the check, so that closing it meanwhile wakes this read.
        self.place.activity.wait(context.waker());
        self.check(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.after_write(context, poll)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.after_write(context, poll)
    }
}
