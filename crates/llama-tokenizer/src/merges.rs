//! Merges of a `tokenizer.json`.

use serde_json::Value;

/// Lists the pairs that a `tokenizer.json` merges, in the order in which they are tried, in the spelling of any version.
pub(crate) fn of(json: &Value) -> impl Iterator<Item = (String, String)> {
    json["model"]["merges"].as_array().into_iter().flatten().filter_map(pair)
}

fn pair(value: &Value) -> Option<(String, String)> {
    let (left, right) = match value {
        Value::String(text) => text.split_once(' ')?,
        Value::Array(pair) => (pair.first()?.as_str()?, pair.get(1)?.as_str()?),
        _ => return None,
    };
    Some((left.to_owned(), right.to_owned()))
}
