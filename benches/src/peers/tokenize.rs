//! Tokenising all of the large Alpaca file.

use anyhow::Result;
use serde::Deserialize;
use serde_json::json;

use super::bars::Bar;
use super::setting::{Measured, Setting};
use super::workbench::ask;
use xtask::output::{note, say};

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
    let mut command = setting.bench.program("bench-tokenize");
    command.arg("--base_model").arg(&setting.base_model).arg("--data_path").arg(&records);
    let Tokenized { records, tokens, read_s, seconds } =
        ask(command.args(["--threads", &setting.bench.threads.to_string()]))?;
    say(&format!(
        "tokenising: {records} records, {tokens} tokens in {seconds:.2} s ({read_s:.2} s to read the file)"
    ));
    let what = format!("{records} records tokenised in at most {MOST_SECONDS} s: {seconds:.2} s");
    let measured = json!({ "records": records, "tokens": tokens, "read_s": read_s, "seconds": seconds });
    Ok(Some((measured, vec![Bar { what, met: seconds <= MOST_SECONDS }])))
}
