//! Files of `torch.save`: a pickle that describes tensors, and their storages beside it.
//!
//! Two ages: a zip archive since PyTorch 1.6 ([`zip_file`]), before that five pickles and the raw storages one after
//! another ([`legacy`]); both as `torch/serialization.py` of PyTorch 2.11 reads them. The pickles are read by
//! [`machine`], which builds plain values and knows six names ([`globals`]); nothing is ever executed. [`write`] makes
//! such an archive.

mod cursor;
mod error;
mod globals;
mod heap;
mod legacy;
mod machine;
mod pickle;
mod rebuild;
mod state_dict;
mod write;
mod zip_file;
mod zip_records;

pub use error::TorchFileError;
pub use write::TorchWriter;

use crate::placed::Placed;

/// Tells whether `bytes` begin as a torch file of either age.
pub(crate) fn is_one(bytes: &[u8]) -> bool {
    bytes.starts_with(zip_file::MAGIC) || bytes.first() == Some(&machine::PROTO)
}

/// Reads the named tensors of a torch file.
pub(crate) fn read(bytes: &[u8]) -> Result<Vec<(String, Placed)>, TorchFileError> {
    if bytes.starts_with(zip_file::MAGIC) { zip_file::read(bytes) } else { legacy::read(bytes) }
}
