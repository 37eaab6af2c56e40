//! Places for connections: bounded in number, in all and for each address; the oldest idle connection makes room.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use crate::Limits;
use crate::activity::Activity;
use crate::lock::lock;

/// A connection that has been idle for less is no candidate for closing: its request may be on the way.
const LEAST_IDLE: Duration = Duration::from_secs(1);

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
pub(crate) enum Admission {
    Place(Place),
    /// Its address has too many, all in use.
    Refused,
    /// There are too many, all in use.
    Wait,
}

impl Places {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            connections: Mutex::default(),
            total: limits.connections.max(1),
            per_address: limits.connections_per_address.max(1),
            idle_time: limits.idle_time,
        }
    }

    pub(crate) fn idle_time(&self) -> Duration {
        self.idle_time
    }

    /// Gives a connection of `address` a place, closing an idle one where that is needed and possible.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> Admission {
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
    pub(crate) fn close_oldest_idle(&self, address: Option<IpAddr>, least: Duration) -> bool {
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
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address @ IpAddr::V4(_) => address,
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
