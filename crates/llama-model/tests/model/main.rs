//! The whole model: equal to transformers, and what holds whatever the weights.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
mod decoding;
mod properties;
mod transformers;
