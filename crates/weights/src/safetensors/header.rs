//! The sizes of a file's header.

/// Bytes of the length field.
pub(super) const LENGTH_BYTES: u64 = 8;
/// The longest header a reader accepts, in bytes (the reference implementation's limit).
pub(super) const MAX_HEADER_BYTES: u64 = 100_000_000;
