//! Tokenising all of the large Alpaca file.

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::json;

use super::bars::Bar;
use super::setting::{Measured, Setting};
use xtask::output::{note, say};
use xtask::process;

/// Output of `bench-tokenize`.
#[derive(Debug, Deserialize)]
struct Tokenized {
    records: usize,
    tokens: usize,
    read_s: f64,
    seconds: f64,
}

/// Seconds that the 52,002 records may take on two cores.
const MOST_SECONDS: f64 = 10.0;

pub(crate) fn run(setting: &Setting<'_>) -> Result<Option<Measured>> {
    let Some(records) = setting.many_records() else {
        note("skipped: alpaca_data.json is not at hand (name a file with --tokenize_path)");
        return Ok(None);
    };
    let mut command = setting.program("bench-tokenize");
    command.arg("--base_model").arg(&setting.base_model).arg("--data_path").arg(&records);
    let text = process::capture(command.args(["--threads", &setting.threads.to_string()]))?;
    let Tokenized { records, tokens, read_s, seconds } =
        serde_json::from_str(&text).context("cannot read what `bench-tokenize` printed")?;
    say(&format!(
        "tokenising: {records} records, {tokens} tokens in {seconds:.2} s ({read_s:.2} s to read the file)"
    ));
    let what = format!("{records} records tokenised in at most {MOST_SECONDS} s: {seconds:.2} s");
    let measured = json!({ "records": records, "tokens": tokens, "read_s": read_s, "seconds": seconds });
    Ok(Some((measured, vec![Bar { what, met: seconds <= MOST_SECONDS }])))
}
