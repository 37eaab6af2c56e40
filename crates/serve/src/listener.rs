//! Listening: takes the connections that there are places for.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::net::TcpListener;
use tokio::time::sleep;

use crate::Limits;
use crate::activity::Activity;
use crate::connection::Connection;
use crate::fair_queue::Client;
use crate::places::{Admission, Places, network};

/// Time between two attempts to take a connection when there is no place, or the operating system gives none.
const RETRY: Duration = Duration::from_millis(50);

/// Accepts connections within the limits.
#[derive(Debug)]
pub(crate) struct BoundedListener {
    listener: TcpListener,
    places: Arc<Places>,
}

impl BoundedListener {
    pub(crate) fn new(listener: TcpListener, limits: &Limits) -> Self {
        Self { listener, places: Arc::new(Places::new(limits)) }
    }

    pub(crate) fn places(&self) -> Arc<Places> {
        self.places.clone()
    }
}

impl Listener for BoundedListener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            let (stream, peer) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors (EMFILE, ENFILE), or a client that has gone already.
                    if matches!(error.raw_os_error(), Some(23 | 24)) {
                        self.places.close_oldest_idle(None, Duration::ZERO);
                    }
                    sleep(RETRY).await;
                    continue;
                }
            };
            // Tokens are small; each has to leave at once.
            let _ = stream.set_nodelay(true);
            loop {
                match self.places.admit(network(peer.ip())) {
                    Admission::Place(place) => {
                        return (Connection::new(stream, place, self.places.idle_time()), peer);
                    }
                    Admission::Refused => break,
                    Admission::Wait => sleep(RETRY).await,
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A client: its address, and what its connection does.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    pub(crate) activity: Arc<Activity>,
}

impl Peer {
    /// Returns whom the fair queues take it for; requests may name users of theirs.
    pub(crate) fn client(&self, user: Option<&str>) -> Client {
        (network(self.address.ip()), user.unwrap_or_default().chars().take(64).collect())
    }
}

impl Connected<IncomingStream<'_, BoundedListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, BoundedListener>) -> Self {
        Self { address: *stream.remote_addr(), activity: stream.io().activity() }
    }
}
