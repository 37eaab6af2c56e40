//! Generation with real models: equal to transformers, and the same whoever is in the batch.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod alone;
mod common;
mod text;
mod transformers;
