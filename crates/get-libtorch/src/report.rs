//! Words about what is going on.

/// Gets told what the set-up does, since a library prints nothing.
pub trait Report {
    /// A sentence.
    fn note(&mut self, line: &str);

    /// Bytes of a file that are there, of how many. Called often.
    fn progress(&mut self, name: &str, done: u64, total: Option<u64>);
}

/// Says nothing.
#[derive(Debug, Default, Clone, Copy)]
pub struct Silent;

impl Report for Silent {
    fn note(&mut self, _: &str) {}

    fn progress(&mut self, _: &str, _: u64, _: Option<u64>) {}
}
