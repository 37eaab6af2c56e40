//! The error of a wrong request.

/// A request that cannot be met as it was made: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// A failure that another process has told already, with the exit code that it has.
#[derive(Debug, thiserror::Error)]
#[error("another process has failed")]
pub(crate) struct Told(pub(crate) u8);
