//! Errors with an exit code of their own.

/// A request that cannot be met as it was made: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// A failure that another process has told already, with the exit code that it has.
#[derive(Debug, thiserror::Error)]
#[error("another process has failed")]
pub(crate) struct Told(pub(crate) u8);

/// A plan that this machine has no room for: exit code 3.
#[derive(Debug, thiserror::Error)]
#[error("the run does not fit: {0}")]
pub(crate) struct DoesNotFit(pub(crate) String);
