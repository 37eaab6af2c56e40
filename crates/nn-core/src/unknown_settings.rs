//! Treatment of settings that nobody here knows.

/// Treatment of a key that a configuration sets and that is in no table here: it may change what a model computes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UnknownSettings {
    /// Refused by name.
    #[default]
    Refuse,
    /// Listed in a note, and left out of account.
    Ignore,
}
