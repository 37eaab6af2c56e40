//! Checkpoint files to tensors and back.
//!
//! Reading: [`TensorStore`] opens a Hugging Face directory or a single file (safetensors, or a torch pickle of either
//! age), reads headers only, and hands out tensors that look straight at the mapped file. [`CheckpointSource`] gives
//! those to a model, [`ParameterSource`] turns them into parameters on the way.
//!
//! [`GgufFile`] does the same for the files of llama.cpp, and writes out what they hold in blocks of few bits.
//!
//! Writing: [`SafetensorsWriter`], [`TorchWriter`] and [`GgufWriter`] lay a file out and begin a [`TensorStream`], which
//! takes tensors in pieces; the file appears complete or not at all. [`write_safetensors`] is the short way for tensors
//! in memory. [`atomic_write`] and [`AtomicDir`] give the same promise to any file and to a directory of files. A [`DirLock`]
//! keeps other processes out of a directory, a [`Digest`] identifies a file by its content.
//!
//! Nothing in a file is ever executed: a torch pickle is read by a small machine that knows how tensors are rebuilt and
//! refuses every other name. See [`TorchFileError`].

mod atomic_dir;
mod atomic_file;
mod digest;
mod digest_cache;
mod digest_list;
mod dir_lock;
mod directory;
mod error;
mod file_digest;
mod gguf;
mod in_work;
mod lfs;
mod limits;
mod mapping;
mod nearest;
mod parameters;
mod placed;
mod safetensors;
mod source;
mod spec;
mod store;
mod stream;
mod torch_file;
mod unique_map;

pub use atomic_dir::AtomicDir;
pub use atomic_file::{atomic_write, is_full};
pub use digest::{Digest, NotADigest};
pub use digest_cache::DigestCache;
pub use digest_list::{DIGEST_LIST, check_digests, write_digests};
pub use dir_lock::DirLock;
pub use error::WeightsError;
pub use gguf::{
    GgmlType, GgufArray, GgufError, GgufFile, GgufMetadata, GgufSplit, GgufTensorSpec, GgufValue, GgufWriter,
};
pub use parameters::ParameterSource;
pub use plain_files::{open_regular, read_text};
pub use safetensors::{SafetensorsWriter, pt_metadata, write_safetensors};
pub use source::CheckpointSource;
pub use spec::TensorSpec;
pub use store::TensorStore;
pub use stream::TensorStream;
pub use torch_file::{TorchFileError, TorchWriter};
