//! Errors of the server as a whole.

use std::net::SocketAddr;

/// Error of a server that cannot start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// There is no source.
    #[error("the server has no source; expected at least one model")]
    NoSource,
    /// Two sources have one name.
    #[error("two sources are called `{name}`; names have to differ")]
    SameName {
        /// Name of both.
        name: String,
    },
    /// The address is taken or not of this machine.
    #[error("cannot listen on {address}")]
    Listen {
        /// Address asked for.
        address: SocketAddr,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// The operating system starts no thread.
    #[error("cannot start a thread for {what}")]
    Thread {
        /// Purpose of the thread.
        what: String,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// The server ended unasked.
    #[error("the server stopped")]
    Serve(#[source] std::io::Error),
}
