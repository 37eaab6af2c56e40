//! The most that a file of weights may state, before memory is taken for it. `docs/models.md` lists these limits.

/// Tensors of one file: far above every published model (405 billion parameters quantised by bitsandbytes come to about 7,000).
pub(crate) const MAX_TENSORS: usize = 1 << 17;
/// Elements of one array of a GGUF file's metadata: far above every vocabulary and list of merges.
pub(crate) const MAX_ARRAY: usize = 1 << 22;
/// Bytes of an index of shards.
pub(crate) const MAX_INDEX_BYTES: u64 = 64 << 20;
