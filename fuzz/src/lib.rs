//! Fuzz targets: every reader of bytes that somebody else made, called as the programs call it, and the laws that it keeps.
//!
//! `cargo xtask fuzz` mutates the inputs of [`TARGETS`]; `tests/replay.rs` runs those that are committed. `docs/security.md` says what
//! is promised, and what was run.
#![expect(clippy::expect_used, reason = "a harness that cannot set up its scene ends")]

mod files;
mod seeds;
mod target;
mod targets;

pub use seeds::committed;
pub use target::Target;
pub use targets::{TARGETS, find};
