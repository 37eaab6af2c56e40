//! The safetensors format: 8 bytes of header length, a JSON header, then the tensors one after another
//! (<https://github.com/huggingface/safetensors>, README, "Format").

mod dtype;
mod header;
mod read;
mod write;

pub(crate) use read::read;
pub use write::{SafetensorsWriter, pt_metadata, write_safetensors};
