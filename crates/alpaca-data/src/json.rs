//! Values of a record, with errors that say what was found instead.

use serde_json::{Map, Value};

/// Takes a string field; `None` when it is absent or null.
///
/// # Errors
/// A sentence when it is something else.
pub(crate) fn take_string(record: &mut Map<String, Value>, name: &str) -> Result<Option<String>, String> {
    match record.get_mut(name).map(Value::take) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(format!("has an `{name}` that is {}; expected a string", kind(&other))),
    }
}

/// Names the type of a value, with its article.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
