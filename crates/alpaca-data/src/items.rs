//! The JSON of single records in a text.

use std::path::Path;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::DataError;
use crate::formats::is_record;
use crate::json::kind;

/// Finds the records' JSON, each with the line that it starts on, from 1: the items of an array, or a record a line.
///
/// # Errors
/// [`DataError`] for a text that is neither, named for what it is.
pub(crate) fn items<'a>(text: &'a str, path: &Path) -> Result<Vec<(usize, &'a str)>, DataError> {
    match text.trim_start().chars().next() {
        None => Ok(Vec::new()),
        Some('[') => array(text, path),
        Some('{') => {
            if let Some(what) = one_object(text) {
                Err(DataError::NotAnArray { path: path.to_owned(), what })
            } else {
                let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
                Ok(lines.map(|(line, item)| (line + 1, item)).collect())
            }
        }
        Some(start) => Err(match serde_json::from_str::<Value>(text) {
            Ok(value) => DataError::NotAnArray {
                path: path.to_owned(),
                what: format!("JSON, but {} alone", kind(&value)),
            },
            Err(_) => DataError::NotRecords { path: path.to_owned(), start },
        }),
    }
}

fn array<'a>(text: &'a str, path: &Path) -> Result<Vec<(usize, &'a str)>, DataError> {
    let items: Vec<&RawValue> =
        serde_json::from_str(text).map_err(|source| DataError::Json { path: path.to_owned(), source })?;
    let (mut line, mut counted) = (1, 0);
    let located = items.into_iter().map(|item| {
        let start = item.get().as_ptr() as usize - text.as_ptr() as usize;
        line += text[counted..start].matches('\n').count();
        counted = start;
        (line, item.get())
    });
    Ok(located.collect())
}

/// Describes a text that is whole JSON objects, but not one record a line: one object around the records or around their
/// columns, one record over several lines, or several of them.
fn one_object(text: &str) -> Option<String> {
    // Most files of one record a line end this here.
    let first = text.trim_start().lines().next().unwrap_or_default();
    if let Ok(object) = serde_json::from_str::<Map<String, Value>>(first) {
        let is_all = text.trim().len() == first.trim().len();
        let holds_others = object.values().any(|value| value.is_array() || value.is_object());
        return (is_all && holds_others && !is_record(&object)).then(|| described(&object));
    }
    let objects: Vec<Map<String, Value>> =
        serde_json::Deserializer::from_str(text).into_iter().collect::<Result<_, _>>().ok()?;
    Some(match objects.as_slice() {
        [object] => described(object),
        several => format!(
            "{} JSON objects over several lines each; write one a line (`jq -c .`), or all in one array",
            several.len()
        ),
    })
}

/// Describes a JSON object in place of an array of records.
fn described(object: &Map<String, Value>) -> String {
    let records = |value: &Value| {
        value.as_array().filter(|items| items.first().is_some_and(Value::is_object)).map(Vec::len)
    };
    let column = |value: &Value| value.is_object() || (value.is_array() && records(value).is_none());
    let names = object.keys().take(8).map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
    if !object.is_empty() && object.values().all(column) {
        return format!("one JSON object of columns ({names}); write an array of records, one object each");
    }
    if is_record(object) {
        return "one JSON object, a record over several lines; write it on one line, or between `[` and `]`"
            .to_owned();
    }
    match object.iter().find_map(|(key, value)| records(value).map(|count| (key, count))) {
        Some((key, count)) => {
            format!(
                "one JSON object, whose `{key}` holds {count} objects; write that array alone (`jq .{key}`)"
            )
        }
        None => format!("one JSON object ({names}); expected an array of records, or one record a line"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        items(text, Path::new("data.json")).unwrap_err().to_string()
    }

    #[test]
    fn json_that_is_no_array_of_records_is_named_for_what_it_is() {
        for (text, part) in [
            ("{\n\"data\": [{\"instruction\": \"a\"}]}", "one JSON object, whose `data` holds 1 objects"),
            ("{\"version\": 1, \"data\": [{\"instruction\": \"a\"}]}", "whose `data` holds 1 objects"),
            ("{\"instruction\": [\"a\"],\n\"output\": [\"b\"]}", "of columns (`instruction`, `output`)"),
            ("{\"instruction\": {\"0\": \"a\"},\n\"output\": {\"0\": \"b\"}}", "of columns"),
            ("{\n\"instruction\": \"a\",\n\"output\": \"b\"}", "a record over several lines"),
            ("{\n\"messages\": [{\"role\": \"user\"}]}", "a record over several lines"),
            ("{\n\"a\": 1}\n{\n\"a\": 2}", "2 JSON objects over several lines each"),
            ("{\n\"a\": 1}", "one JSON object (`a`); expected an array of records"),
            ("\"text\"", "JSON, but a string alone"),
            ("null", "JSON, but null alone"),
            ("Once", "starts with `O`"),
        ] {
            let error = refusal(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn one_record_a_line_is_read_line_by_line_whatever_is_wrong_with_one() {
        for (text, count) in [
            ("{\"output\": \"b\"}", 1),
            ("{\"output\": [1]}\n{\"instruction\": \"a\"}", 2),
            ("{\"instruction\": \"a\", \"out\n\n{\"instruction\": \"b\"}", 2),
        ] {
            assert_eq!(items(text, Path::new("data.json")).unwrap().len(), count, "{text}");
        }
    }
}
