//! The laws of the report, on made-up results.

mod synthetic;

#[path = "report/common.rs"]
mod common;
#[path = "report/faults.rs"]
mod faults;
#[path = "report/files.rs"]
mod files;
#[path = "report/sentences.rs"]
mod sentences;
