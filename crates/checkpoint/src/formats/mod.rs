//! Forms that a model's files may have: a folder or file each, and the table of them.

mod gguf;
mod hf;
mod meta;
mod torch_bin;

pub use gguf::Gguf;
pub use hf::HuggingFace;
pub use meta::Meta;

use crate::format::Format;

/// Every form.
pub const FORMATS: &[&dyn Format] = &[
    // A path is of the first that recognises it.
    &torch_bin::TorchBin,
    &HuggingFace,
    &Meta,
    &Gguf,
];
