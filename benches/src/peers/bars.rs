//! Bars: figures that a bench has to reach.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use xtask::output::say;

/// A figure of a part and whether it is good enough.
#[derive(Debug)]
pub(crate) struct Bar {
    pub(crate) what: String,
    pub(crate) met: bool,
}

/// Writes what a bench measured and says which bars are met; an error where one is missed.
pub(crate) fn report_bars(file: &Path, report: &Value, bars: &[Bar]) -> Result<()> {
    fs::write(file, serde_json::to_string_pretty(report)?)
        .with_context(|| format!("cannot write `{}`", file.display()))?;
    say(&format!("\nwritten to {}", file.display()));
    for bar in bars {
        say(&format!("{:<7} {}", if bar.met { "met" } else { "MISSED" }, bar.what));
    }
    let missed = bars.iter().filter(|bar| !bar.met).count();
    if missed == 0 { Ok(()) } else { bail!("{missed} of {} bars are missed", bars.len()) }
}
