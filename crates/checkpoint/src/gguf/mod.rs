//! GGUF files of the LLaMA architecture.

mod checkpoint;
mod config;
mod names;
mod tokenizer;
mod write;

pub use checkpoint::{GgufCheckpoint, GgufSource};
pub(crate) use tokenizer::read_tokenizer;
pub use write::{gguf_metadata, gguf_rope_factors, gguf_tensor_name, has_rotated_rows};
