//! The description of a model family.

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::fields::Fields;
use crate::{DecoderSpec, ModelError};

/// A family of models: everything that tells its files from another family's.
///
/// The rest of a decoder is the same for all of them and built from the [`DecoderSpec`].
pub struct Family {
    /// `model_type` in `config.json`.
    pub model_type: &'static str,
    /// Class in transformers, the one entry of `architectures` in `config.json`.
    pub architecture: &'static str,
    /// `general.architecture` in GGUF files, which is also the prefix of the metadata's keys.
    pub gguf_architecture: &'static str,
    /// True when GGUF files keep the rows of query and key heads as neighbouring pairs `(0, 1), (2, 3), …` that rotate into
    /// each other, false when as the two halves that transformers has.
    pub gguf_pairs: bool,
    /// True when Meta's checkpoint format can hold this family.
    pub has_meta_format: bool,
    /// `max_position_embeddings` where `config.json` does not state it, in tokens.
    pub max_position_embeddings: i64,
    /// Head width where `config.json` does not state it; `hidden_size / num_attention_heads` when absent.
    pub head_dim: Option<i64>,
    /// Reads the family's own keys of a `config.json`.
    pub(crate) read: fn(Fields<'_>) -> Result<DecoderSpec, ModelError>,
    /// Returns the family's own keys of a `config.json`.
    pub(crate) write: fn(DecoderSpec) -> Map<String, Value>,
}

impl Family {
    /// Returns what is read back after `spec` has been written: the same, where the family can have it.
    pub(crate) fn write_and_read(&self, spec: DecoderSpec) -> Result<DecoderSpec, ModelError> {
        (self.read)(Fields::new(&(self.write)(spec)))
    }
}

impl fmt::Debug for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Family({})", self.model_type)
    }
}

impl PartialEq for Family {
    fn eq(&self, other: &Self) -> bool {
        self.model_type == other.model_type
    }
}

/// Returns keys as they are written to a `config.json`.
pub(crate) fn write_keys(keys: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(keys) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    }
}
