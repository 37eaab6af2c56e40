//! Names of modules.

use std::fmt;

/// A dotted path as Hugging Face checkpoints spell it, such as `model.layers.3.self_attn.q_proj`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModulePath(String);

impl ModulePath {
    /// Creates a path from its full text.
    pub fn new(path: impl Into<String>) -> Self {
        Self(path.into())
    }

    /// Returns the path of a child module.
    #[must_use]
    pub fn join(&self, child: &str) -> Self {
        Self(format!("{}.{child}", self.0))
    }

    /// Returns the last segment, for example `q_proj`.
    pub fn leaf(&self) -> &str {
        self.0.rsplit('.').next().unwrap_or_default()
    }

    /// Returns the whole path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ModulePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
