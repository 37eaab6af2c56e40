//! The error of a wrong request.

/// A request that cannot be met as it was made: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);
