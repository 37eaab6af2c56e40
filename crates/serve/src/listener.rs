//! Listening: connections are bounded in number, in all and for each address, and the oldest idle one makes room.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

use crate::Limits;
use crate::activity::Activity;
use crate::connection::Connection;
use crate::lock::lock;
use crate::request_queue::Client;

/// Time between two attempts to take a connection when there is no place, or the operating system gives none.
const RETRY: Duration = Duration::from_millis(50);
/// A connection that has been idle for less is no candidate for closing: its request may be on the way.
const LEAST_IDLE: Duration = Duration::from_secs(1);

/// Accepts connections within the limits.
#[derive(Debug)]
pub(crate) struct BoundedListener {
    listener: TcpListener,
    places: Arc<Places>,
}

/// Connections there are.
#[derive(Debug)]
pub(crate) struct Places {
    connections: Mutex<HashMap<u64, (IpAddr, Arc<Activity>)>>,
    total: usize,
    per_address: usize,
    idle_time: Duration,
}

/// Place of one connection; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    id: u64,
    pub(crate) activity: Arc<Activity>,
}

/// Answer to a new connection.
enum Admission {
    Place(Place),
    /// Its address has too many, all in use.
    Refused,
    /// There are too many, all in use.
    Wait,
}

impl BoundedListener {
    pub(crate) fn new(listener: TcpListener, limits: &Limits) -> Self {
        let places = Places {
            connections: Mutex::default(),
            total: limits.connections.max(1),
            per_address: limits.connections_per_address.max(1),
            idle_time: limits.idle_time,
        };
        Self { listener, places: Arc::new(places) }
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
                        return (Connection::new(stream, place, self.places.idle_time), peer);
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

impl Places {
    fn admit(self: &Arc<Self>, address: IpAddr) -> Admission {
        loop {
            let mut connections = lock(&self.connections);
            let of_address = connections.values().filter(|(other, _)| *other == address).count();
            let crowded = of_address >= self.per_address;
            if !crowded && connections.len() < self.total {
                let activity = Arc::new(Activity::default());
                let id = activity.id();
                connections.insert(id, (address, activity.clone()));
                return Admission::Place(Place { places: self.clone(), id, activity });
            }
            drop(connections);
            if !self.close_oldest_idle(crowded.then_some(address), LEAST_IDLE.min(self.idle_time)) {
                return if crowded { Admission::Refused } else { Admission::Wait };
            }
        }
    }

    /// Closes the connection, of an address or of all, that has been idle for the longest time, at least `least`.
    fn close_oldest_idle(&self, address: Option<IpAddr>, least: Duration) -> bool {
        let mut connections = lock(&self.connections);
        let idle =
            connections.iter().filter(|(_, (other, _))| address.is_none_or(|address| address == *other));
        let idle = idle.filter_map(|(&id, (_, activity))| activity.idle_since().map(|since| (since, id)));
        let Some((since, id)) = idle.min() else { return false };
        if since + least > Instant::now() {
            return false;
        }
        // Its place is free at once.
        if let Some((_, activity)) = connections.remove(&id) {
            activity.close();
        }
        true
    }

    /// Closes all idle connections.
    pub(crate) fn close_idle(&self) {
        while self.close_oldest_idle(None, Duration::ZERO) {}
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.places.connections).remove(&self.id);
    }
}

/// Returns what counts as one address: of IPv6, the network of 64 bits that a customer is given.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address @ IpAddr::V4(_) => address,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn places(total: usize, per_address: usize) -> Arc<Places> {
        let connections = Mutex::default();
        Arc::new(Places { connections, total, per_address, idle_time: Duration::ZERO })
    }

    fn place(places: &Arc<Places>, address: &str) -> Option<Place> {
        match places.admit(network(address.parse().unwrap())) {
            Admission::Place(place) => Some(place),
            _ => None,
        }
    }

    #[test]
    fn the_oldest_idle_connection_of_the_crowd_makes_room() {
        let places = places(4, 2);
        let other = place(&places, "10.0.0.2").unwrap();
        let crowd = [place(&places, "10.0.0.1").unwrap(), place(&places, "10.0.0.1").unwrap()];
        let _busy = crowd[0].activity.begin();
        let third = place(&places, "10.0.0.1").unwrap();
        let closed = [&other, &crowd[0], &crowd[1], &third].map(|place| place.activity.is_closed());
        assert_eq!(closed, [false, false, true, false], "a busy one stays, and so do others' ones");
        let _busy = third.activity.begin();
        assert!(place(&places, "10.0.0.1").is_none());
        assert!(place(&places, "10.0.0.3").is_some());
    }

    #[test]
    fn a_full_server_closes_the_oldest_idle_connection() {
        let places = places(2, 2);
        let held = [place(&places, "10.0.0.1").unwrap(), place(&places, "10.0.0.2").unwrap()];
        let new = place(&places, "10.0.0.3").unwrap();
        assert_eq!(held.each_ref().map(|place| place.activity.is_closed()), [true, false]);
        drop((held, new));
        assert_eq!(lock(&places.connections).len(), 0);
    }

    #[test]
    fn addresses_of_one_network_are_one_client() {
        let same = |a: &str, b: &str| network(a.parse().unwrap()) == network(b.parse().unwrap());
        assert!(same("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"));
        assert!(!same("2001:db8:1:2::1", "2001:db8:1:3::1"));
        assert!(same("::ffff:10.0.0.1", "10.0.0.1"));
        assert!(!same("10.0.0.1", "10.0.0.2"));
    }
}
