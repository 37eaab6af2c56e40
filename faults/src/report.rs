//! Counts of what was done, and what broke.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use xtask::output::{note, say};

/// Faults by program and kind.
#[derive(Debug, Default)]
pub(crate) struct Report {
    counts: BTreeMap<(&'static str, String), (u32, u32)>,
}

impl Report {
    /// Counts one fault. An error is a broken law: it is told at once.
    pub(crate) fn add(&mut self, program: &'static str, kind: &str, outcome: Result<()>) {
        let (faults, broken) = self.counts.entry((program, kind.to_owned())).or_default();
        *faults += 1;
        if let Err(error) = outcome {
            *broken += 1;
            note(&format!("BROKEN {program}, {kind}: {error:#}"));
        }
    }

    /// Runs one round of a program, which writes the kind of its fault down as soon as it is drawn, and counts it.
    pub(crate) fn round(
        &mut self,
        program: &'static str,
        (round, seed): (u64, u64),
        body: impl FnOnce(&mut String) -> Result<()>,
    ) {
        let mut kind = String::new();
        let outcome = body(&mut kind).with_context(|| format!("round {round} of seed {seed}"));
        self.add(program, &kind, outcome);
    }

    /// Prints the table.
    ///
    /// # Errors
    /// When a law was broken.
    pub(crate) fn finish(&self) -> Result<()> {
        say("| program | fault | injected | laws broken |\n|---|---|---|---|");
        let (mut faults, mut broken) = (0, 0);
        for ((program, kind), (count, bad)) in &self.counts {
            say(&format!("| {program} | {kind} | {count} | {bad} |"));
            faults += count;
            broken += bad;
        }
        say(&format!("| all | | {faults} | {broken} |"));
        if broken > 0 {
            bail!("{broken} of {faults} faults broke a law");
        }
        Ok(())
    }
}
