//! Addresses to listen on.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use anyhow::Result;

use crate::exit::usage;

/// Resolves an address, given by number or by name.
pub(crate) fn address(name: &str, port: u16) -> Result<SocketAddr> {
    if let Ok(ip) = name.parse::<IpAddr>() {
        return Ok((ip, port).into());
    }
    let found = (name, port).to_socket_addrs().ok().and_then(|mut found| found.next());
    found.ok_or_else(|| {
        usage(format!("server_name is `{name}`; expected an address such as 127.0.0.1 or 0.0.0.0"))
    })
}
