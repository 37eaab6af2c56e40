//! Faults of a GGUF file.

use std::path::PathBuf;

/// A failure of reading a GGUF file; the file is named by [`crate::WeightsError::Gguf`], which carries this.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GgufError {
    /// The file does not begin as a GGUF file does.
    #[error("it does not begin with `GGUF`")]
    Magic,
    /// A version that is not read.
    #[error("its version is {actual}; versions 2 and 3 are supported")]
    Version {
        /// The version.
        actual: u32,
    },
    /// The numbers of the file have their bytes in the other order.
    #[error("its numbers are big-endian; little-endian files are supported")]
    BigEndian,
    /// The file ends inside its header.
    #[error("it is truncated: {what} at byte {offset} needs {expected} bytes, {actual} are left")]
    Truncated {
        /// The part that was being read.
        what: String,
        /// Byte in the file.
        offset: usize,
        /// Bytes it needs at least.
        expected: u64,
        /// Bytes there are.
        actual: u64,
    },
    /// A header longer than any real one.
    #[error("its header is longer than {limit} bytes")]
    HeaderSize {
        /// The most that is read.
        limit: usize,
    },
    /// More of something than any real file has.
    #[error("it has {actual} {what}; at most {limit} are read")]
    TooMany {
        /// The things.
        what: String,
        /// Their number.
        actual: u64,
        /// The most that is read.
        limit: usize,
    },
    /// A name or a text is not UTF-8.
    #[error("{what} is not UTF-8")]
    Text {
        /// Whose text.
        what: String,
    },
    /// A value of a type the format does not know.
    #[error("{what} has the unknown value type {actual}")]
    ValueType {
        /// Whose value.
        what: String,
        /// The type's number.
        actual: u32,
    },
    /// Arrays in arrays, deeper than any real file has them.
    #[error("{what} has arrays more than {limit} deep")]
    Depth {
        /// Whose value.
        what: String,
        /// The most that is read.
        limit: usize,
    },
    /// A name that comes twice.
    #[error("{what} comes twice")]
    Repeated {
        /// The key or tensor.
        what: String,
    },
    /// An alignment that is none.
    #[error("`general.alignment` is {actual}; it has to be a power of two of at least 8")]
    Alignment {
        /// Value in the file.
        actual: String,
    },
    /// A tensor with more dimensions than the format has, or of an impossible size.
    #[error("tensor `{name}` has the impossible shape {shape}")]
    Shape {
        /// The tensor.
        name: String,
        /// The shape or the number of dimensions.
        shape: String,
    },
    /// A tensor whose rows are no whole number of blocks.
    #[error("tensor `{name}` has rows of {actual} elements; {ggml_type} needs a multiple of {expected}")]
    Row {
        /// The tensor.
        name: String,
        /// Elements of a row.
        actual: i64,
        /// The type.
        ggml_type: &'static str,
        /// Elements of a block.
        expected: usize,
    },
    /// One of several files, with a name that does not lead to the others.
    #[error(
        "it is one of {count} files (`split.count`), but is not named as one: NAME-00001-of-{count:05}.gguf; give the \
         files the names they were written with"
    )]
    SplitName {
        /// Number of files.
        count: i64,
    },
    /// One of several files without the others.
    #[error("it is one of {count} files that the model was split into, and `{missing}` is missing")]
    SplitMissing {
        /// Number of files.
        count: i64,
        /// The first that is not there.
        missing: PathBuf,
    },
    /// One of several files that belong to different models, or are in another order.
    #[error("`{key}` is {}; expected {expected}: it is not of the same split model as its name says", actual.map_or_else(|| "missing".to_owned(), |actual| actual.to_string()))]
    SplitNumber {
        /// The key.
        key: &'static str,
        /// Its value in the file.
        actual: Option<i64>,
        /// The value that fits the other files.
        expected: i64,
    },
    /// A tensor in a form that is not read.
    #[error("tensor `{name}` is in {actual}, which is not supported; supported are {expected}")]
    TensorType {
        /// The tensor.
        name: String,
        /// The type's name, or its number.
        actual: String,
        /// The names of those that are.
        expected: String,
    },
    /// A tensor that begins where none may.
    #[error("tensor `{name}` begins at byte {actual} of the data, which is no multiple of {alignment}")]
    Unaligned {
        /// The tensor.
        name: String,
        /// Its offset.
        actual: u64,
        /// The file's alignment.
        alignment: usize,
    },
    /// A tensor that reaches beyond the end of the file.
    #[error("it is truncated: tensor `{name}` needs the file to have {expected} bytes, it has {actual}")]
    Outside {
        /// The tensor.
        name: String,
        /// Size of a file that would hold it.
        expected: u64,
        /// Size of the file.
        actual: u64,
    },
}
