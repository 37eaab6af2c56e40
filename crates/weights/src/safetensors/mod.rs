//! The safetensors format: 8 bytes of header length, a JSON header, then the tensors one after another
//! (<https://github.com/huggingface/safetensors>, README, "Format").

mod dtype;
mod read;
mod write;

pub(crate) use read::read;
pub use write::{SafetensorsWriter, pt_metadata, write_safetensors};

/// Bytes of the length field.
const LENGTH_BYTES: u64 = 8;
/// The longest header a reader accepts, in bytes (the reference implementation's limit).
const MAX_HEADER_BYTES: u64 = 100_000_000;
