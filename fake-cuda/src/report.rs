//! What was held, and what broke.

use std::time::Instant;

use anyhow::{Result, bail};
use xtask::output::{note, say};

/// Laws by name, those alone whose name has one of the wanted parts in it.
#[derive(Debug)]
pub(crate) struct Report {
    only: Vec<String>,
    held: usize,
    broken: Vec<String>,
}

impl Report {
    pub(crate) fn new(only: &[String]) -> Self {
        Self { only: only.to_vec(), held: 0, broken: Vec::new() }
    }

    /// Tells if a law of this name is to be tried.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| name.contains(part.as_str()))
    }

    /// Tries one law, and tells how it went.
    pub(crate) fn add(&mut self, name: &str, law: impl FnOnce() -> Result<()>) {
        if !self.wants(name) {
            return;
        }
        let begun = Instant::now();
        let outcome = law();
        let seconds = begun.elapsed().as_secs_f64();
        match outcome {
            Ok(()) => {
                self.held += 1;
                say(&format!("ok     {seconds:6.1} s  {name}"));
            }
            Err(error) => {
                note(&format!("BROKEN {seconds:6.1} s  {name}: {error:#}"));
                self.broken.push(name.to_owned());
            }
        }
    }

    /// Prints how many hold.
    ///
    /// # Errors
    /// When one does not, or none was tried.
    pub(crate) fn finish(&self) -> Result<()> {
        let all = self.held + self.broken.len();
        say(&format!("{} of {all} hold", self.held));
        match self.broken.as_slice() {
            [] if all == 0 => bail!("nothing has such a name"),
            [] => Ok(()),
            broken => bail!("{} do not hold:\n  {}", broken.len(), broken.join("\n  ")),
        }
    }
}
