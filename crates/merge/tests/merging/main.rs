//! Merging of small tensors, compared with a second route.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod combining;
mod common;
mod merged_weights;
mod refusals;
mod unmerging;
