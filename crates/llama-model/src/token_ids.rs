//! Token ids of a configuration.

use serde::{Deserialize, Serialize};

/// One token id or several, as `eos_token_id` may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TokenIds {
    /// A single id.
    One(i64),
    /// Llama 3's instruct models stop at any of several.
    Many(Vec<i64>),
}

impl TokenIds {
    /// Returns the ids as a list.
    pub fn as_slice(&self) -> &[i64] {
        match self {
            Self::One(id) => std::slice::from_ref(id),
            Self::Many(ids) => ids,
        }
    }
}
