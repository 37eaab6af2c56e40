//! Records of instruction, input and output.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::DataError;

/// One Alpaca record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What to do.
    pub instruction: String,
    /// What to do it with; empty where the instruction says it all.
    #[serde(default)]
    pub input: String,
    /// The answer.
    pub output: String,
}

/// What to do with a record that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadRecords {
    /// Stop at the first.
    Refuse,
    /// Leave it out and report it.
    Skip,
}

/// A record that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRecord {
    /// Index in the file, from 0.
    pub index: usize,
    /// Line of the file it starts on, from 1.
    pub line: usize,
    /// Why.
    pub reason: String,
}

impl fmt::Display for BadRecord {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "record {} (line {}) {}", self.index, self.line, self.reason)
    }
}

/// The records of a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Records {
    /// The usable ones, in the order of the file.
    pub records: Vec<Record>,
    /// The others.
    pub skipped: Vec<BadRecord>,
}

/// Reads a JSON array of records, or one JSON record a line (JSONL).
///
/// `instruction` and `output` are required strings; `input` may be absent, null or empty; other fields are ignored.
///
/// # Errors
/// [`DataError`] when the file cannot be read or is not of either form, holds no usable record, or, with
/// [`BadRecords::Refuse`], holds a bad one.
pub fn load_records(path: &Path, bad: BadRecords) -> Result<Records, DataError> {
    let bytes = std::fs::read(path).map_err(|source| DataError::Read { path: path.to_owned(), source })?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|error| DataError::NotText { path: path.to_owned(), offset: error.valid_up_to() })?;
    parse_records(text, path, bad)
}

/// [`load_records`] of a text already read; `path` names it in errors.
///
/// # Errors
/// As [`load_records`].
pub fn parse_records(text: &str, path: &Path, bad: BadRecords) -> Result<Records, DataError> {
    let text = text.trim_start_matches('\u{feff}');
    let mut found = Records::default();
    let mut add = |index: usize, line: usize, record: Result<Record, String>| {
        match record {
            Ok(record) => found.records.push(record),
            Err(reason) => {
                let record = BadRecord { index, line, reason };
                if bad == BadRecords::Refuse {
                    return Err(DataError::Record { path: path.to_owned(), record });
                }
                found.skipped.push(record);
            }
        }
        Ok(())
    };
    match text.trim_start().chars().next() {
        None => {}
        Some('[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text)
                .map_err(|source| DataError::Json { path: path.to_owned(), source })?;
            let (mut line, mut counted) = (1, 0);
            for (index, item) in items.into_iter().enumerate() {
                let start = item.get().as_ptr() as usize - text.as_ptr() as usize;
                line += text[counted..start].matches('\n').count();
                counted = start;
                add(index, line, record(item.get()))?;
            }
        }
        Some('{') => {
            let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
            for (index, (line, item)) in lines.enumerate() {
                add(index, line + 1, record(item))?;
            }
        }
        Some(start) => return Err(DataError::NotRecords { path: path.to_owned(), start }),
    }
    if found.records.is_empty() {
        return Err(DataError::Empty { path: path.to_owned(), skipped: found.skipped.len() });
    }
    Ok(found)
}

/// One record, or what is wrong with it.
fn record(text: &str) -> Result<Record, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"))?;
    let Value::Object(mut fields) = value else {
        return Err(format!("is {}; expected an object with instruction, input and output", kind(&value)));
    };
    let record = Record {
        instruction: field(&mut fields, "instruction")?.ok_or("has no `instruction`")?,
        input: field(&mut fields, "input")?.unwrap_or_default(),
        output: field(&mut fields, "output")?.ok_or("has no `output`")?,
    };
    if record.instruction.trim().is_empty() {
        return Err("has an empty `instruction`".to_owned());
    }
    Ok(record)
}

/// A string field; `None` when it is absent or null.
fn field(fields: &mut Map<String, Value>, name: &str) -> Result<Option<String>, String> {
    match fields.get_mut(name).map(Value::take) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(format!("has an `{name}` that is {}; expected a string", kind(&other))),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
