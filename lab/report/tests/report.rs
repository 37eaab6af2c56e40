//! The laws of the report, on made-up results.

#![allow(
    clippy::unwrap_used,
    clippy::float_cmp,
    dead_code,
    reason = "made-up results: what does not unwrap is a mistake in them"
)]

mod synthetic;

#[path = "report/common.rs"]
mod common;
#[path = "report/faults.rs"]
mod faults;
#[path = "report/files.rs"]
mod files;
#[path = "report/sentences.rs"]
mod sentences;
