//! GGUF files of the LLaMA architecture.

mod checkpoint;
mod config;
mod names;

pub use checkpoint::{GgufCheckpoint, GgufSource};
