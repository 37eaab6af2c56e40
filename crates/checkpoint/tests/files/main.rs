//! Models in the files of Meta and llama.cpp.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
mod configuration;
mod merging;
mod sources;
