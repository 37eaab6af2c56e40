//! The whole model: equal to transformers, and the laws that hold whatever the weights.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
mod decoding;
mod laws;
mod transformers;
