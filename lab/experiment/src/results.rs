//! Results: one line of JSON for each cell, kept one by one under their keys and put together in matrix order.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// One line of `results.jsonl`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct CellResult {
    pub(crate) cell: String,
    /// Digest of programs, inputs and settings.
    pub(crate) key: String,
    pub(crate) variant: String,
    pub(crate) size: Option<usize>,
    pub(crate) seed: Option<u64>,
    pub(crate) repeat: usize,
    pub(crate) ok: bool,
    pub(crate) error: Option<String>,
    pub(crate) wall_s: f64,
    #[serde(flatten)]
    pub(crate) measured: Measured,
}

/// What a cell found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) metrics: BTreeMap<String, f64>,
    /// Curves, as points.
    pub(crate) series: BTreeMap<String, Vec<[f64; 2]>>,
    pub(crate) texts: Vec<Text>,
    /// Distributions.
    pub(crate) samples: BTreeMap<String, Vec<f64>>,
}

impl Measured {
    /// Adds a figure; one that is no number is left out.
    pub(crate) fn put(&mut self, name: &str, value: f64) {
        if value.is_finite() {
            self.metrics.insert(name.to_owned(), value);
        }
    }

    /// Adds a figure that may be absent.
    pub(crate) fn put_some(&mut self, name: &str, value: Option<f64>) {
        if let Some(value) = value {
            self.put(name, value);
        }
    }
}

/// One answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Text {
    pub(crate) id: String,
    pub(crate) instruction: String,
    pub(crate) input: String,
    pub(crate) reference: String,
    pub(crate) answer: String,
}

/// The finished cells of a directory, as they were written: a kept line is never written anew.
#[derive(Debug)]
pub(crate) struct Store {
    dir: PathBuf,
}

impl Store {
    /// The store of an experiment's directory.
    pub(crate) fn of(out: &Path) -> Self {
        Self { dir: out.join("cells") }
    }

    fn path(&self, key: &str) -> PathBuf {
        self.dir.join(format!("{key}.json"))
    }

    /// The line of a cell that is finished and well.
    pub(crate) fn finished(&self, cell: &str, key: &str) -> Option<String> {
        let line = fs::read_to_string(self.path(key)).ok()?;
        let result: CellResult = serde_json::from_str(&line).ok()?;
        (result.ok && result.cell == cell && result.key == key).then_some(line)
    }

    /// Keeps a cell; its line.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(crate) fn keep(&self, result: &CellResult) -> Result<String> {
        let line = serde_json::to_string(result)?;
        write_atomically(&self.path(&result.key), &line)?;
        Ok(line)
    }
}

/// Writes `results.jsonl` and `results.csv`.
///
/// # Errors
/// When a line is no result or the disk refuses.
pub(crate) fn write_tables(out: &Path, lines: &[String]) -> Result<()> {
    let mut text = lines.join("\n");
    text.push('\n');
    write_atomically(&out.join("results.jsonl"), &text)?;
    let results = lines.iter().map(|line| serde_json::from_str(line).context("a kept line is no result"));
    write_atomically(&out.join("results.csv"), &csv(&results.collect::<Result<Vec<_>>>()?))
}

/// A row for each cell and a column for each metric.
fn csv(results: &[CellResult]) -> String {
    let names: BTreeSet<&String> = results.iter().flat_map(|result| result.measured.metrics.keys()).collect();
    let mut text = "cell,variant,size,seed,repeat,ok,wall_s".to_owned();
    for name in &names {
        let _ = write!(text, ",{name}");
    }
    text.push('\n');
    for result in results {
        let optional = |value: Option<u64>| value.map(|value| value.to_string()).unwrap_or_default();
        let _ = write!(
            text,
            "{},{},{},{},{},{},{}",
            result.cell,
            result.variant,
            optional(result.size.map(|size| size as u64)),
            optional(result.seed),
            result.repeat,
            result.ok,
            result.wall_s
        );
        for &name in &names {
            let value = result.measured.metrics.get(name).map(f64::to_string).unwrap_or_default();
            let _ = write!(text, ",{value}");
        }
        text.push('\n');
    }
    text
}

/// Writes a file that appears whole or not at all.
///
/// # Errors
/// When the disk refuses.
pub(crate) fn write_atomically(path: &Path, text: &str) -> Result<()> {
    let cannot = || format!("cannot write `{}`", path.display());
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(cannot)?;
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.tmp-{}", std::process::id()));
    fs::write(&temporary, text).with_context(cannot)?;
    fs::File::open(&temporary).and_then(|file| file.sync_all()).with_context(cannot)?;
    fs::rename(&temporary, path).with_context(cannot)
}

#[cfg(test)]
mod tests {
    use super::super::scratch::Scratch;
    use super::*;

    fn result(cell: &str, ok: bool) -> CellResult {
        let mut measured = Measured::default();
        measured.put("perplexity", 0.1 + 0.2);
        measured.put("nothing", f64::NAN);
        let (cell, key) = (cell.to_owned(), format!("key-of-{cell}"));
        CellResult { cell, key, variant: "a".to_owned(), ok, wall_s: 1.5, measured, ..CellResult::default() }
    }

    #[test]
    fn a_finished_cell_is_kept_to_the_byte_and_a_failed_one_is_not() {
        let dir = Scratch::new("store");
        let store = Store::of(dir.path());
        let line = store.keep(&result("x", true)).unwrap();
        assert_eq!(store.finished("x", "key-of-x"), Some(line));
        assert_eq!(store.finished("x", "another key"), None);
        store.keep(&result("y", false)).unwrap();
        assert_eq!(store.finished("y", "key-of-y"), None);
    }

    #[test]
    fn the_table_has_a_row_for_each_cell_and_a_column_for_each_metric() {
        let text = csv(&[result("x", true), result("y", false)]);
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("cell,variant,size,seed,repeat,ok,wall_s,perplexity"));
        assert_eq!(lines.next(), Some("x,a,,,0,true,1.5,0.30000000000000004"));
        assert!(!text.contains("NaN"), "{text}");
    }
}
