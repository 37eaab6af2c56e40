//! Codecs against bitsandbytes, products against dense ones, files both ways.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod codes;
mod files;
mod products;
