//! GGUF, the file of llama.cpp: metadata, then tensors, many of them in blocks of few bits.
//!
//! Versions 2 and 3, little-endian (ggml `docs/gguf.md`). The header is read by a cursor that never leaves the file
//! ([`cursor`]); tensors of plain numbers are mapped, those in blocks ([`blocks`]) are written out as they are asked for.
//! New files ([`write`]) hold plain numbers or `Q8_0`.

mod blocks;
mod cursor;
mod error;
mod file;
mod ggml_type;
mod header;
mod metadata;
mod part;
mod split;
mod write;

pub use error::GgufError;
pub use file::GgufFile;
pub use ggml_type::GgmlType;
pub use metadata::{GgufArray, GgufMetadata, GgufValue};
pub use split::GgufSplit;
pub use write::{GgufTensorSpec, GgufWriter};
