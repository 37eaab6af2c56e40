//! The header of a file: sizes, and its JSON.

use std::collections::HashMap;
use std::fmt;

use safetensors::tensor::{Metadata, TensorInfo};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use crate::limits::MAX_TENSORS;

/// Bytes of the length field.
pub(super) const LENGTH_BYTES: u64 = 8;
/// The longest header a reader accepts, in bytes (the reference implementation's limit).
pub(super) const MAX_HEADER_BYTES: u64 = 100_000_000;
/// Key of what is no tensor.
pub(super) const METADATA: &str = "__metadata__";

/// A header whose names come once, and whose tensors follow one another without gaps, in sizes that fit their shapes.
#[derive(Debug)]
pub(super) struct Header(pub(super) Metadata);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Entries)
    }
}

struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Header, A::Error> {
        let mut metadata: Option<HashMap<String, String>> = None;
        let mut tensors: HashMap<String, TensorInfo> = HashMap::new();
        while let Some(name) = access.next_key::<String>()? {
            if name == METADATA && metadata.is_none() {
                metadata = access.next_value::<Option<_>>()?.or_else(|| Some(HashMap::new()));
            } else if name == METADATA || tensors.contains_key(&name) {
                return Err(A::Error::custom(format!("`{name}` comes twice")));
            } else if tensors.len() == MAX_TENSORS {
                return Err(A::Error::custom(format!("it has more than {MAX_TENSORS} tensors")));
            } else {
                tensors.insert(name, access.next_value()?);
            }
        }
        let mut tensors: Vec<(String, TensorInfo)> = tensors.into_iter().collect();
        tensors.sort_by_key(|(_, info)| info.data_offsets);
        Metadata::new(metadata, tensors).map(Header).map_err(A::Error::custom)
    }
}
