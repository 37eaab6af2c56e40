//! A record that cannot be used.

use std::fmt;

/// Record that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRecord {
    /// Index in the file, from 0.
    pub index: usize,
    /// Line of the file it starts on, from 1.
    pub line: usize,
    /// Sentence without its subject, for example "has no `output`".
    pub reason: String,
}

impl fmt::Display for BadRecord {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "record {} (line {}) {}", self.index, self.line, self.reason)
    }
}
