//! Columns of a record that its format does not read.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Columns to pass over although they say something that the prompt has no place for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub enum IgnoredColumns {
    /// None: a record that fills one is refused.
    #[default]
    None,
    /// All that the format does not read.
    All,
    /// Those of these names.
    Named(Vec<String>),
}

impl IgnoredColumns {
    /// Checks whether the column `name` is passed over.
    pub fn contains(&self, name: &str) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Named(names) => names.iter().any(|ignored| ignored == name),
        }
    }

    /// Returns the first of the `filled` columns that is not passed over.
    pub fn refused(&self, filled: &[&'static str]) -> Option<&'static str> {
        filled.iter().copied().find(|name| !self.contains(name))
    }
}

/// `true` for all, `false` for none, or names between commas.
impl From<String> for IgnoredColumns {
    fn from(text: String) -> Self {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned);
        match text.trim().to_ascii_lowercase().as_str() {
            "true" | "all" => Self::All,
            "false" | "none" | "" => Self::None,
            _ => Self::Named(names.collect()),
        }
    }
}

impl FromStr for IgnoredColumns {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(text.to_owned().into())
    }
}

impl From<IgnoredColumns> for String {
    fn from(columns: IgnoredColumns) -> Self {
        columns.to_string()
    }
}

impl fmt::Display for IgnoredColumns {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => formatter.write_str("false"),
            Self::All => formatter.write_str("true"),
            Self::Named(names) => formatter.write_str(&names.join(",")),
        }
    }
}

/// Lists those of `names` that a record fills: with something else than null, an empty or blank text, or an empty list or
/// object.
pub(crate) fn filled(record: &Map<String, Value>, names: &[&'static str]) -> Vec<&'static str> {
    let says_something = |value: &Value| match value {
        Value::Null => false,
        Value::String(text) => !text.trim().is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    };
    names.iter().copied().filter(|&name| record.get(name).is_some_and(says_something)).collect()
}
