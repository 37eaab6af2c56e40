//! Connections, bounded in number and closed when they stall.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

/// Time a connection may stall.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IdleLimits {
    /// Limit while the client sends nothing: at least as long as an answer may take.
    pub(crate) reading: Duration,
    /// Limit while the client does not read what is sent.
    pub(crate) writing: Duration,
}

/// Accepts up to a number of connections; more wait in the operating system's backlog.
#[derive(Debug)]
pub(crate) struct BoundedListener {
    listener: TcpListener,
    places: Arc<Semaphore>,
    idle_limits: IdleLimits,
}

impl BoundedListener {
    pub(crate) fn new(listener: TcpListener, connections: usize, idle_limits: IdleLimits) -> Self {
        Self { listener, places: Arc::new(Semaphore::new(connections)), idle_limits }
    }
}

impl Listener for BoundedListener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            let Ok(place) = self.places.clone().acquire_owned().await else {
                // The semaphore is never closed.
                return std::future::pending().await;
            };
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    // Tokens are small; each has to leave at once.
                    let _ = stream.set_nodelay(true);
                    return (Connection::new(stream, self.idle_limits, place), peer);
                }
                // Out of file descriptors, or a client that has gone already.
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Connection that fails once it has stalled for too long, so a client that stops reading cannot hold it.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    idle_limits: IdleLimits,
    reading: Pin<Box<Sleep>>,
    /// Runs while the client takes nothing.
    writing: Option<Pin<Box<Sleep>>>,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    fn new(stream: TcpStream, idle_limits: IdleLimits, place: OwnedSemaphorePermit) -> Self {
        let reading = Box::pin(sleep(idle_limits.reading));
        Self { stream, idle_limits, reading, writing: None, _place: place }
    }

    /// Passes the result of a read on; a pending one fails when the time is over.
    fn after_read(&mut self, context: &mut Context<'_>, poll: Poll<io::Result<()>>) -> Poll<io::Result<()>> {
        if poll.is_ready() {
            self.reading.as_mut().reset(Instant::now() + self.idle_limits.reading);
            return poll;
        }
        self.reading.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Does the same for a write, which also shows that the connection is in use.
    fn after_write(
        &mut self,
        context: &mut Context<'_>,
        poll: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if poll.is_ready() {
            self.writing = None;
            self.reading.as_mut().reset(Instant::now() + self.idle_limits.reading);
            return poll;
        }
        let idle_limits = self.idle_limits.writing;
        let timer = self.writing.get_or_insert_with(|| Box::pin(sleep(idle_limits)));
        timer.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.after_read(context, poll)
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

/// Address of the client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

impl Connected<IncomingStream<'_, BoundedListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, BoundedListener>) -> Self {
        Self(*stream.remote_addr())
    }
}
