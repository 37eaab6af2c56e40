//! Failures of reading and writing checkpoints.

use std::path::PathBuf;

use nn_core::TorchFailure;
use torch_ext::ExtError;

use crate::{Digest, GgufError, TorchFileError};

/// A failure of reading or writing a checkpoint. Every message names the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// A directory without any of the files that hold weights.
    #[error("no weights in `{dir}`: expected one of {expected}")]
    NoWeights {
        /// The directory.
        dir: PathBuf,
        /// The file names looked for, in order of preference.
        expected: String,
    },
    /// A file could not be opened, mapped or read.
    #[error("cannot read `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// Error of the system.
        #[source]
        source: std::io::Error,
    },
    /// A file or directory could not be written.
    #[error("cannot write `{path}`")]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// Error of the system.
        #[source]
        source: std::io::Error,
    },
    /// The file system is full, or the user's quota is.
    #[error("the disk is full: cannot write `{path}`{}", needs_text(*num_bytes))]
    DiskFull {
        /// The file that did not fit.
        path: PathBuf,
        /// Its size in bytes; where that is not known beforehand, what was to be written when the disk filled up; 0 for
        /// a directory.
        num_bytes: u64,
        /// Error of the system.
        #[source]
        source: std::io::Error,
    },
    /// The pointer that Git LFS keeps in place of a file it has not fetched.
    #[error("`{path}` is a Git LFS pointer, not the weights: run `git lfs pull` where it was cloned")]
    LfsPointer {
        /// The file.
        path: PathBuf,
    },
    /// Neither safetensors nor a torch pickle.
    #[error("`{path}` is neither a safetensors file nor a torch pickle")]
    Unrecognised {
        /// The file.
        path: PathBuf,
    },
    /// A safetensors file that ends early, as an interrupted download does.
    #[error("`{path}` is truncated: its header promises {expected} bytes, the file has {actual}")]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Size in bytes that the header asks for.
        expected: u64,
        /// Size of the file in bytes.
        actual: u64,
    },
    /// A safetensors file with bytes that belong to no tensor.
    #[error(
        "`{path}` has bytes after its last tensor: its header promises {expected} bytes, the file has {actual}"
    )]
    TrailingBytes {
        /// The file.
        path: PathBuf,
        /// Size in bytes that the header asks for.
        expected: u64,
        /// Size of the file in bytes.
        actual: u64,
    },
    /// A safetensors header that is not one.
    #[error("the safetensors header of `{path}` is malformed")]
    Header {
        /// The file.
        path: PathBuf,
        /// Error of the JSON reader.
        #[source]
        source: serde_json::Error,
    },
    /// A safetensors header longer than any real one; the length field is garbage.
    #[error("the safetensors header of `{path}` claims {num_bytes} bytes; at most {limit} are possible")]
    HeaderSize {
        /// The file.
        path: PathBuf,
        /// The claimed length in bytes.
        num_bytes: u64,
        /// The format's limit in bytes.
        limit: u64,
    },
    /// An element type this crate does not read or write.
    #[error("tensor `{name}` of `{path}` has dtype {dtype}, which is not supported")]
    Dtype {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The element type, as the file or libtorch spells it.
        dtype: String,
    },
    /// A shard index that is not one.
    #[error("the shard index `{path}` is malformed")]
    Index {
        /// The index file.
        path: PathBuf,
        /// Error of the JSON reader.
        #[source]
        source: serde_json::Error,
    },
    /// A shard index that names something other than a file beside it.
    #[error("the shard index `{index}` names `{shard}`, which is not a plain file name")]
    ShardName {
        /// The index file.
        index: PathBuf,
        /// The name in it.
        shard: String,
    },
    /// A shard index that names a file which is not there.
    #[error("the shard index `{index}` names `{shard}`, which does not exist")]
    ShardMissing {
        /// The index file.
        index: PathBuf,
        /// The missing file.
        shard: String,
    },
    /// A shard index that puts a tensor into a file which lacks it.
    #[error("the shard index `{index}` puts tensor `{name}` into `{shard}`, which lacks it")]
    ShardLacks {
        /// The index file.
        index: PathBuf,
        /// The file.
        shard: String,
        /// The tensor.
        name: String,
    },
    /// A torch pickle that cannot be read, or that asks for more than tensors.
    #[error("cannot read `{path}` as tensors")]
    TorchFile {
        /// The file.
        path: PathBuf,
        /// Its fault.
        #[source]
        source: TorchFileError,
    },
    /// A GGUF file that is damaged, or holds what is not read.
    #[error("cannot read GGUF file `{path}`")]
    Gguf {
        /// The file.
        path: PathBuf,
        /// Its fault.
        #[source]
        source: GgufError,
    },
    /// A tensor that the checkpoint does not hold.
    #[error("no tensor `{name}` in `{path}`{}", nearest_text(nearest))]
    UnknownTensor {
        /// The checkpoint, as it was opened.
        path: PathBuf,
        /// The tensor asked for.
        name: String,
        /// The most similar names that are there.
        nearest: Vec<String>,
    },
    /// Two tensors of one name, or a name the format reserves, in a file to be written.
    #[error("`{path}` cannot hold a tensor named `{name}`: the name is taken")]
    NameTaken {
        /// The file to be written.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// A tensor that is not what was announced for it when its file was begun.
    #[error("tensor `{name}` for `{path}` is {actual}, but {expected} was announced")]
    NotAsAnnounced {
        /// The file being written.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Kind and shape of the tensor.
        actual: String,
        /// Kind and shape in the file's header.
        expected: String,
    },
    /// A tensor with numbers that its form in a file has no place for.
    #[error(
        "tensor `{name}` for `{path}` has NaN, infinity, or numbers beyond {limit}, which {dtype} cannot hold; write it in a wider \
         precision (bfloat16 or float32)"
    )]
    Overflow {
        /// The file being written.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The form.
        dtype: &'static str,
        /// The largest magnitude it can hold.
        limit: f32,
    },
    /// A file with more tensors than any real one.
    #[error("`{path}` has {actual} tensors; at most {limit} are read")]
    TooManyTensors {
        /// The file.
        path: PathBuf,
        /// Their number.
        actual: usize,
        /// The most that is read.
        limit: usize,
    },
    /// A directory that is to be built anew, and is there already.
    #[error("`{path}` exists already")]
    Exists {
        /// The directory.
        path: PathBuf,
    },
    /// A directory that another process has.
    #[error("`{path}` is in use by {owner}; wait for its end, or name another directory")]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The process and its machine.
        owner: String,
    },
    /// A file without the content that the list of digests beside it promises.
    #[error(
        "`{path}` {}",
        actual.map_or("is missing: `B3SUMS` beside it names it".to_owned(), |actual| {
            format!("is damaged, or `B3SUMS` beside it: its BLAKE3 digest is {actual:.12}, not {expected:.12}")
        })
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Its digest; none where there is no such file.
        actual: Option<Digest>,
        /// Its digest in the list.
        expected: Digest,
    },
    /// A list of digests that was written and is gone.
    #[error("the list of digests `{path}` is missing")]
    NoDigestList {
        /// The list.
        path: PathBuf,
    },
    /// A list of digests that does not name a file beside it.
    #[error("the list of digests `{path}` is damaged: `{file}` is not in it")]
    NotListed {
        /// The list.
        path: PathBuf,
        /// The file's name.
        file: String,
    },
    /// A list of digests that is not one.
    #[error("the list of digests `{path}` is damaged in line {line}")]
    DigestList {
        /// The list.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// libtorch refused an operation.
    #[error(transparent)]
    Torch(#[from] TorchFailure),
    /// libtorch refused to look at a mapped file.
    #[error(transparent)]
    View(#[from] ExtError),
}

fn nearest_text(nearest: &[String]) -> String {
    if nearest.is_empty() { String::new() } else { format!("; nearest: `{}`", nearest.join("`, `")) }
}

fn needs_text(num_bytes: u64) -> String {
    if num_bytes == 0 { String::new() } else { format!(", which needs at least {num_bytes} bytes") }
}
