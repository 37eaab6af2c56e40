//! Opening a base model in any form: a directory in Hugging Face's layout or in Meta's, a GGUF file, or the name of a model
//! on the hub.
//!
//! [`Base::open`] recognises the form; its tokenizer, chat template and weights are then read the same way whatever it is,
//! and [`Base::load`] gives the model.

mod base;
mod chat;
mod error;
mod gguf;
mod hub;
mod interleaved;
mod memory;
mod meta;
mod source;
mod tokenizer_files;

pub use base::{Base, LoadTimes};
pub use error::CheckpointError;
pub use gguf::{
    GgufCheckpoint, GgufSource, gguf_metadata, gguf_rope_factors, gguf_tensor_name, has_rotated_rows,
};
pub use memory::{auto_kind, free_host_bytes};
pub use meta::{MetaCheckpoint, MetaPart, MetaSource, meta_params, meta_parts};
pub use source::{BaseSource, BaseWeights};
pub use tokenizer_files::copy_tokenizer_files;
