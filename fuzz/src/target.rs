//! A reader under test, and the laws that it keeps.

use std::error::Error;

use crate::committed;

/// What a reader says of an input: nothing, or why it is refused.
pub(crate) type Verdict = Result<(), Box<dyn Error + Send + Sync>>;

/// The longest error message. What it quotes of an input is not repeated over and over.
const MAX_MESSAGE_BYTES: usize = 64 << 10;

/// A reader of foreign bytes.
///
/// Its laws: no panic, no abort, no memory beyond the limit, an end within the time, and an error that names something. The fuzzer
/// watches over memory and time, [`Target::check`] over the rest.
#[derive(Debug)]
pub struct Target {
    /// Name of the target.
    pub name: &'static str,
    /// Description: the files, and the functions that read them.
    pub reads: &'static str,
    /// Seconds of processor time that an input may take.
    pub limit_s: u64,
    /// Inputs to begin with, golden files of the crates' tests.
    pub(crate) seeds: fn() -> Vec<Vec<u8>>,
    pub(crate) run: fn(&[u8]) -> Verdict,
}

impl Target {
    /// Returns the inputs to begin with: golden files of the tests, and what is committed for this target.
    pub fn seeds(&self) -> Vec<Vec<u8>> {
        let mut seeds = (self.seeds)();
        seeds.extend(committed(self.name).into_iter().map(|(_, bytes)| bytes));
        seeds
    }

    /// Reads an input to its end.
    ///
    /// # Errors
    /// The reader's message and its causes.
    ///
    /// # Panics
    /// When the reader breaks a law.
    pub fn check(&self, bytes: &[u8]) -> Result<(), String> {
        let Err(error) = (self.run)(bytes) else { return Ok(()) };
        let message = chain(&*error);
        let names_something =
            message.contains(['`', '"']) || message.contains("--") || message.contains(char::is_numeric);
        assert!(names_something, "{}: an error that names nothing: {message}", self.name);
        assert!(
            message.len() <= MAX_MESSAGE_BYTES,
            "{}: an error of {} bytes: {}…",
            self.name,
            message.len(),
            message.chars().take(200).collect::<String>()
        );
        Err(message)
    }
}

/// Returns the messages of an error and its causes.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
