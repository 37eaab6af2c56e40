//! Adapters over a toy model: their layers and their files. With a real model they are tested in the crate `cli`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
mod dropout;
mod files;
mod layers;
