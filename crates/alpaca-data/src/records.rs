//! Files of records: a JSON array, or one JSON object a line.

use std::path::Path;

use rayon::prelude::*;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::formats::{self, Record};
use crate::json::{kind, take_string};
use crate::{BadRecord, DataError, Templates, TrainingText};

/// Treatment of records that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadRecords {
    /// Stop at the first.
    Refuse,
    /// Leave them out and report them.
    Skip,
}

/// Records of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Records<T> {
    /// The usable ones, in the order of the file.
    pub records: Vec<T>,
    /// The others.
    pub skipped: Vec<BadRecord>,
}

/// Reads a file of Alpaca records, for programs that ask their instructions and compare the answers.
///
/// # Errors
/// [`DataError`] when the file cannot be read or is neither a JSON array nor JSON lines, holds no usable record, or, with
/// [`BadRecords::Refuse`], holds a bad one.
pub fn load_records(path: &Path, bad: BadRecords) -> Result<Records<Record>, DataError> {
    parse(&read_file(path)?, path, bad, Record::from_json)
}

/// Reads the field `kind` of every record of a file, where it has one: the kind of task, by which scores are grouped.
///
/// # Errors
/// Those of [`load_records`].
pub fn load_kinds(path: &Path) -> Result<Vec<Option<String>>, DataError> {
    let kind = |mut record| Ok(take_string(&mut record, "kind").unwrap_or_default());
    Ok(parse(&read_file(path)?, path, BadRecords::Refuse, kind)?.records)
}

/// Reads a file of records of any format as texts to train on. Each record is read by the format that detects it, so a
/// file may mix formats.
///
/// # Errors
/// Those of [`load_records`].
pub fn load_training_texts(
    path: &Path,
    bad: BadRecords,
    templates: &Templates,
) -> Result<Records<TrainingText>, DataError> {
    parse(&read_file(path)?, path, bad, |record| formats::render(record, templates))
}

fn read_file(path: &Path) -> Result<String, DataError> {
    let failed = |source| DataError::Read { path: path.to_owned(), source };
    // Opening a named pipe would wait for a writer, and a device has no end.
    if path.exists() && !path.is_file() {
        return Err(failed(std::io::Error::other("it is not a regular file")));
    }
    let bytes = std::fs::read(path).map_err(failed)?;
    String::from_utf8(bytes).map_err(|error| DataError::NotText {
        path: path.to_owned(),
        offset: error.utf8_error().valid_up_to(),
    })
}

/// Reads each record by `read`, in parallel.
fn parse<T: Send>(
    text: &str,
    path: &Path,
    bad: BadRecords,
    read: impl Fn(Map<String, Value>) -> Result<T, String> + Sync,
) -> Result<Records<T>, DataError> {
    let items = items(text.trim_start_matches('\u{feff}'), path)?;
    let parsed: Vec<Result<T, String>> =
        items.par_iter().map(|&(_, json)| object(json).and_then(&read)).collect();
    let mut found = Records { records: Vec::with_capacity(parsed.len()), skipped: Vec::new() };
    for (index, (record, (line, _))) in parsed.into_iter().zip(items).enumerate() {
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
    }
    if found.records.is_empty() {
        return Err(DataError::Empty { path: path.to_owned(), skipped: found.skipped.len() });
    }
    Ok(found)
}

/// Finds the records' JSON, each with the line that it starts on.
fn items<'a>(text: &'a str, path: &Path) -> Result<Vec<(usize, &'a str)>, DataError> {
    match text.trim_start().chars().next() {
        None => Ok(Vec::new()),
        Some('[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text)
                .map_err(|source| DataError::Json { path: path.to_owned(), source })?;
            let (mut line, mut counted) = (1, 0);
            let located = items.into_iter().map(|item| {
                let start = item.get().as_ptr() as usize - text.as_ptr() as usize;
                line += text[counted..start].matches('\n').count();
                counted = start;
                (line, item.get())
            });
            Ok(located.collect())
        }
        Some('{') => {
            let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
            Ok(lines.map(|(line, item)| (line + 1, item)).collect())
        }
        Some(start) => Err(DataError::NotRecords { path: path.to_owned(), start }),
    }
}

fn object(json: &str) -> Result<Map<String, Value>, String> {
    match serde_json::from_str(json).map_err(|error| format!("is not JSON: {error}"))? {
        Value::Object(fields) => Ok(fields),
        other => Err(format!("is {}; expected an object with instruction, input and output", kind(&other))),
    }
}
