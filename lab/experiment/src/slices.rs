//! Slices of record files: nested ones to train on, even ones to ask.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::digest;
use super::run_file::Profile;
use super::store::write_atomically;

/// Reads the records of a JSON array, or of JSON lines.
fn read(path: &Path) -> Result<Vec<Value>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let records: Vec<Value> = if text.trim_start().starts_with('[') {
        serde_json::from_str(&text).with_context(|| format!("cannot read `{}`", path.display()))?
    } else {
        let lines = text.lines().filter(|line| !line.trim().is_empty()).map(serde_json::from_str);
        lines.collect::<Result<_, _>>().with_context(|| format!("cannot read `{}`", path.display()))?
    };
    if records.is_empty() {
        bail!("`{}` has no records", path.display());
    }
    Ok(records)
}

/// Writes records as a JSON array.
pub(crate) fn write(path: &Path, records: &[Value]) -> Result<()> {
    let lines: Vec<String> = records.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
    write_atomically(path, &format!("[\n{}\n]\n", lines.join(",\n")))
}

/// Sorts the records in an order that depends on their places alone: by the SHA-256 of the place. A slice is a beginning of it,
/// so every slice holds the smaller ones, and a file that is sorted by kind of task gives mixed slices.
fn shuffled(records: Vec<Value>) -> Vec<Value> {
    let mut keyed: Vec<(String, Value)> = records
        .into_iter()
        .enumerate()
        .map(|(place, record)| (digest::of_bytes(place.to_string().as_bytes()), record))
        .collect();
    keyed.sort_by(|a, b| a.0.cmp(&b.0));
    keyed.into_iter().map(|(_, record)| record).collect()
}

/// Returns `count` records at even distances; all where there are fewer.
fn spread(records: &[Value], count: usize) -> Vec<Value> {
    let count = count.min(records.len());
    (0..count).map(|place| records[place * records.len() / count].clone()).collect()
}

/// The records of an experiment.
#[derive(Debug)]
pub(crate) struct Records {
    /// Slices are beginnings of this order.
    pub(crate) train: Vec<Value>,
    pub(crate) validation: Vec<Value>,
    pub(crate) evaluation: Vec<Value>,
}

impl Records {
    /// Reads and splits. With data of the user's own, the profile's files for validation and evaluation do not fit them.
    pub(crate) fn of(profile: &Profile, data_path: &Path, root: &Path, own_data: bool) -> Result<Self> {
        let mut train = shuffled(read(data_path)?);
        let of_profile =
            |path: &Option<String>| path.as_ref().filter(|_| !own_data).map(|path| root.join(path));
        let mut part = |path: Option<PathBuf>, count: usize, what: &str| -> Result<Vec<Value>> {
            if let Some(path) = path {
                return Ok(spread(&read(&path)?, count));
            }
            if train.len() <= count {
                bail!(
                    "`{}` has {} records left; {count} have to be set aside for {what}",
                    data_path.display(),
                    train.len()
                );
            }
            Ok(train.drain(..count).collect())
        };
        let evaluation =
            part(of_profile(&profile.evaluation_path), profile.evaluation_records, "evaluation")?;
        let count = profile.validation_records.unwrap_or(profile.evaluation_records);
        let validation = part(of_profile(&profile.validation_path), count, "validation")?;
        Ok(Self { train, validation, evaluation })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize) -> Vec<Value> {
        (0..count).map(Value::from).collect()
    }

    #[test]
    fn a_slice_holds_every_smaller_one_in_the_same_order() {
        let all = shuffled(numbers(100));
        assert_ne!(all, numbers(100));
        let mut sorted: Vec<u64> = all.iter().filter_map(Value::as_u64).collect();
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..100));
        for (small, large) in [(8, 32), (32, 64), (64, 100)] {
            assert_eq!(all[..small], all[..large][..small]);
        }
        // More records behind change the order of nothing that was there.
        let of_200: Vec<Value> =
            shuffled(numbers(200)).into_iter().filter(|value| value.as_u64() < Some(100)).collect();
        assert_eq!(of_200, all);
    }

    #[test]
    fn evenly_spaced_records_span_the_file() {
        assert_eq!(spread(&numbers(10), 5), [0, 2, 4, 6, 8].map(Value::from));
        assert_eq!(spread(&numbers(3), 5), numbers(3));
    }
}
