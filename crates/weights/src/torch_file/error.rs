//! Faults of a torch file.

/// Why a torch pickle was not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TorchFileError {
    /// The pickle asks for a function or class that has nothing to do with tensors. Python would have called it.
    #[error("pickle wants `{global}`, which is not part of a tensor file; refused")]
    ForeignGlobal {
        /// The name it asks for, as `module.name`.
        global: String,
    },
    /// The pickle ends before its STOP.
    #[error("the pickle ends in the middle, at byte {offset}")]
    Truncated {
        /// Byte from the start of the pickle.
        offset: usize,
    },
    /// An instruction that describes no tensor file.
    #[error("pickle instruction {opcode:#04x} at byte {offset} is not part of a tensor file")]
    Opcode {
        /// The instruction.
        opcode: u8,
        /// Byte from the start of the pickle.
        offset: usize,
    },
    /// An instruction whose operands are not what it needs.
    #[error("malformed pickle at byte {offset}: {expected} expected")]
    Malformed {
        /// The value that should have been there.
        expected: &'static str,
        /// Byte from the start of the pickle.
        offset: usize,
    },
    /// More instructions than any description of tensors takes.
    #[error("the pickle has more than {limit} instructions")]
    TooLong {
        /// The limit.
        limit: usize,
    },
    /// The pickle holds values, but no tensors by name.
    #[error("the pickle holds no dictionary of tensors")]
    NoTensors,
    /// A tensor that reaches outside its storage, or has an impossible shape.
    #[error("tensor `{name}` does not fit into its storage")]
    OutsideStorage {
        /// The tensor.
        name: String,
    },
    /// A storage that the file does not hold.
    #[error("storage `{key}` is missing")]
    MissingStorage {
        /// The storage's key in the pickle.
        key: String,
    },
    /// A storage of which the file holds only a part.
    #[error("storage `{key}` is truncated: {expected} bytes were promised, {actual} are there")]
    TruncatedStorage {
        /// The storage's key in the pickle.
        key: String,
        /// Size in bytes by the pickle.
        expected: u64,
        /// Bytes in the file.
        actual: u64,
    },
    /// A zip archive without the directory at its end, as an interrupted download is.
    #[error("the zip archive is truncated: its directory, at the end of the file, is missing")]
    NoZipDirectory,
    /// A zip archive that is not one.
    #[error("the zip archive is malformed")]
    Zip(#[source] zip::result::ZipError),
    /// A zip archive that `torch.save` did not write.
    #[error("the zip archive holds no `data.pkl`, so `torch.save` did not write it")]
    NotTorch,
    /// A program of `torch.jit.save`.
    #[error("this is a TorchScript program, not a file of tensors")]
    TorchScript,
    /// A record of the archive that is not stored as it is.
    #[error(
        "record `{record}` of the zip archive is compressed or encrypted; `torch.save` stores records as they are"
    )]
    Compressed {
        /// The record.
        record: String,
    },
    /// Written on a big-endian machine.
    #[error("the file was written on a big-endian machine")]
    BigEndian,
    /// A pickle, but not of `torch.save`.
    #[error("the file is a pickle, but `torch.save` did not write it")]
    NotTorchPickle,
}
