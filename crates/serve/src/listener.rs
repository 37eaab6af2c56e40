//! Connections: bounded in number, and ended when they stand still.

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

/// How long a connection may stand still.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// While the client says nothing: at least as long as an answer may take.
    pub(crate) reading: Duration,
    /// While the client does not take what is sent.
    pub(crate) writing: Duration,
}

/// Accepts up to a number of connections; more wait in the operating system's backlog.
#[derive(Debug)]
pub(crate) struct BoundedListener {
    listener: TcpListener,
    places: Arc<Semaphore>,
    patience: Patience,
}

impl BoundedListener {
    pub(crate) fn new(listener: TcpListener, connections: usize, patience: Patience) -> Self {
        Self { listener, places: Arc::new(Semaphore::new(connections)), patience }
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
                    return (Connection::new(stream, self.patience, place), peer);
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

/// A connection that fails once it has stood still for too long. So one who stops reading an answer cannot keep it.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    patience: Patience,
    reading: Pin<Box<Sleep>>,
    /// Runs while the client takes nothing.
    writing: Option<Pin<Box<Sleep>>>,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    fn new(stream: TcpStream, patience: Patience, place: OwnedSemaphorePermit) -> Self {
        let reading = Box::pin(sleep(patience.reading));
        Self { stream, patience, reading, writing: None, _place: place }
    }

    /// Passes the result of a read on; a pending one fails when the time is over.
    fn after_read(&mut self, context: &mut Context<'_>, poll: Poll<io::Result<()>>) -> Poll<io::Result<()>> {
        if poll.is_ready() {
            self.reading.as_mut().reset(Instant::now() + self.patience.reading);
            return poll;
        }
        self.reading.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    /// As [`Connection::after_read`] for a write, which also shows that the connection is in use.
    fn after_write(
        &mut self,
        context: &mut Context<'_>,
        poll: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if poll.is_ready() {
            self.writing = None;
            self.reading.as_mut().reset(Instant::now() + self.patience.reading);
            return poll;
        }
        let patience = self.patience.writing;
        let timer = self.writing.get_or_insert_with(|| Box::pin(sleep(patience)));
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

/// The client's address.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

impl Connected<IncomingStream<'_, BoundedListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, BoundedListener>) -> Self {
        Self(*stream.remote_addr())
    }
}
