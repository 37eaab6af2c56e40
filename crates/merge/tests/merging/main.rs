//! What merging does to weights, on small tensors by two routes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod combining;
mod common;
mod laws;
mod refusals;
mod unmerging;
