//! Writes made-up results, to look at the layout of reports: `cargo run -p report --example synthetic_results DIR`. No number
//! in them was ever measured.

#![allow(
    clippy::unwrap_used,
    clippy::float_cmp,
    dead_code,
    reason = "made-up results: what does not unwrap is a mistake in them"
)]

#[path = "../src/text/tests/synthetic/mod.rs"]
mod synthetic;

use std::path::PathBuf;
use std::process::ExitCode;

use synthetic::{MergeFaults, QloraFaults, lora_vs_qlora, merge_compare, write};

fn main() -> ExitCode {
    let Some(dir) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: synthetic_results DIR");
        return ExitCode::from(2);
    };
    let (experiment, cells) =
        merge_compare(MergeFaults { planted: true, failures: true, ..MergeFaults::default() });
    write(&dir.join("synthetic-merge-compare"), &experiment, &cells);
    let (experiment, cells) = lora_vs_qlora(QloraFaults { failures: true, ..QloraFaults::default() });
    write(&dir.join("synthetic-lora-vs-qlora"), &experiment, &cells);
    ExitCode::SUCCESS
}
