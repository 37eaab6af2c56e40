//! The programs `merge` and `unmerge` over small models, and over real ones where these are at hand.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../common/mod.rs"]
mod common;

mod comparing;
mod crash;
mod families;
mod forward;
mod peft;
mod quantised;
mod refusals;
mod round_trip;
mod scene;
mod tokens;
mod unmerging;
mod variants;
mod vocabulary;
