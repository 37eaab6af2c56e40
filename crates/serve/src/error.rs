//! Failures of the server as a whole.

use std::net::SocketAddr;

/// A server that cannot start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// Nothing to answer with.
    #[error("the server has no source; expected at least one model")]
    NoSource,
    /// Two sources of one name.
    #[error("two sources are called `{name}`; names have to differ")]
    SameName {
        /// The name.
        name: String,
    },
    /// The address is taken or not of this machine.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The operating system gave no thread.
    #[error("cannot start a thread for {what}")]
    Thread {
        /// What it is for.
        what: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The server ended while it should not have.
    #[error("the server stopped")]
    Serve(#[source] std::io::Error),
}
