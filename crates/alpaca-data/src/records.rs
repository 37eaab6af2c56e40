//! Files of records: a JSON array, or one JSON object a line.

use std::io::Read;
use std::path::Path;

use plain_files::open_regular;
use rayon::prelude::*;
use serde_json::{Map, Value};

use crate::columns::filled;
use crate::foreign::recognise;
use crate::formats::{self, Record};
use crate::items::items;
use crate::json::{kind, take_string};
use crate::record_format::Format;
use crate::{BadRecord, DataError, IgnoredColumns, Templates, TrainingText};

/// Treatment of records that cannot be used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BadRecords {
    /// Stop at the first.
    #[default]
    Refuse,
    /// Leave them out and report them.
    Skip,
}

/// Treatment of records that cannot be used, or not as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadConfig {
    /// Records that cannot be used.
    pub bad: BadRecords,
    /// Columns that the format does not read, and that may be filled all the same.
    pub ignored: IgnoredColumns,
}

impl From<BadRecords> for ReadConfig {
    fn from(bad: BadRecords) -> Self {
        Self { bad, ignored: IgnoredColumns::None }
    }
}

/// Records of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Records<T> {
    /// The usable ones, in the order of the file.
    pub records: Vec<T>,
    /// The others.
    pub skipped: Vec<BadRecord>,
    /// Filled columns that were passed over, each with the number of records that fill it.
    pub ignored: Vec<(&'static str, usize)>,
}

/// Reads a file of Alpaca records, for programs that ask their instructions and compare the answers.
///
/// # Errors
/// [`DataError`] when the file cannot be read or is neither a JSON array nor JSON lines, holds no usable record, fills a
/// column that has no place in the prompt, or, with [`BadRecords::Refuse`], holds a bad one.
pub fn load_records(path: &Path, config: impl Into<ReadConfig>) -> Result<Records<Record>, DataError> {
    parse(&read_file(path)?, path, &config.into(), |_| formats::ALPACA, Record::from_json)
}

/// Reads the field `kind` of every record of a file, where it has one: the kind of task, by which scores are grouped.
///
/// # Errors
/// Those of [`load_records`].
pub fn load_kinds(path: &Path) -> Result<Vec<Option<String>>, DataError> {
    let kind = |mut record| Ok(take_string(&mut record, "kind").unwrap_or_default());
    let config = ReadConfig { ignored: IgnoredColumns::All, ..ReadConfig::default() };
    Ok(parse(&read_file(path)?, path, &config, |_| formats::ALPACA, kind)?.records)
}

/// Reads a file of records of any format as texts to train on. Each record is read by the format that detects it, so a
/// file may mix formats.
///
/// # Errors
/// Those of [`load_records`].
pub fn load_training_texts(
    path: &Path,
    config: impl Into<ReadConfig>,
    templates: &Templates,
) -> Result<Records<TrainingText>, DataError> {
    let render = |record| formats::detect(&record).render(record, templates);
    parse(&read_file(path)?, path, &config.into(), formats::detect, render)
}

/// Reads the text of a file of records, or of prompts.
///
/// # Errors
/// [`DataError`] when it cannot be read, is of another kind, or is no text.
pub fn read_file(path: &Path) -> Result<String, DataError> {
    let failed = |source| DataError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    open_regular(path).and_then(|mut file| file.read_to_end(&mut bytes)).map_err(failed)?;
    if let Some(found) = recognise(&bytes) {
        return Err(DataError::Foreign { path: path.to_owned(), found });
    }
    String::from_utf8(bytes).map_err(|error| DataError::NotText {
        path: path.to_owned(),
        offset: error.utf8_error().valid_up_to(),
    })
}

/// Reads each record by `read`, in parallel.
fn parse<T: Send>(
    text: &str,
    path: &Path,
    config: &ReadConfig,
    format: impl Sync + Fn(&Map<String, Value>) -> &'static dyn Format,
    read: impl Fn(Map<String, Value>) -> Result<T, String> + Sync,
) -> Result<Records<T>, DataError> {
    let items = items(text.trim_start_matches('\u{feff}'), path)?;
    let parse_one = |json: &str| {
        let fields = object(json)?;
        let filled = filled(&fields, format(&fields).unread());
        Ok((read(fields)?, filled))
    };
    let parsed: Vec<Result<_, String>> = items.par_iter().map(|&(_, json)| parse_one(json)).collect();
    let mut found =
        Records { records: Vec::with_capacity(parsed.len()), skipped: Vec::new(), ignored: Vec::new() };
    for (index, (record, (line, _))) in parsed.into_iter().zip(items).enumerate() {
        match record {
            Ok((record, filled)) => {
                if let Some(column) = config.ignored.refused(&filled) {
                    return Err(DataError::Column { path: path.to_owned(), index, line, column });
                }
                found.count_ignored(&filled);
                found.records.push(record);
            }
            Err(reason) => {
                let record = BadRecord { index, line, reason };
                if config.bad == BadRecords::Refuse {
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

impl<T> Records<T> {
    fn count_ignored(&mut self, filled: &[&'static str]) {
        for &name in filled {
            match self.ignored.iter_mut().find(|(ignored, _)| *ignored == name) {
                Some((_, count)) => *count += 1,
                None => self.ignored.push((name, 1)),
            }
        }
    }
}

fn object(json: &str) -> Result<Map<String, Value>, String> {
    match serde_json::from_str(json).map_err(|error| format!("is not JSON: {error}"))? {
        Value::Object(fields) => Ok(fields),
        other => Err(format!("is {}; expected an object with instruction, input and output", kind(&other))),
    }
}
