//! Results on disk: each cell kept under its key, and all of them put together in the order of the matrix.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use results::Cell;

/// The finished cells of a directory, as they were written: a kept line is never written anew.
#[derive(Debug)]
pub(crate) struct Store {
    dir: PathBuf,
}

impl Store {
    /// Returns the store of an experiment's directory.
    pub(crate) fn of(out: &Path) -> Self {
        Self { dir: out.join("cells") }
    }

    fn path(&self, key: &str) -> PathBuf {
        self.dir.join(format!("{key}.json"))
    }

    /// Returns the line of a cell that is finished and well.
    pub(crate) fn finished(&self, cell: &str, key: &str) -> Option<String> {
        let line = fs::read_to_string(self.path(key)).ok()?;
        let result: Cell = serde_json::from_str(&line).ok()?;
        (result.ok && result.cell == cell && result.key == key).then_some(line)
    }

    /// Keeps a cell; returns its line.
    pub(crate) fn keep(&self, result: &Cell) -> Result<String> {
        let line = serde_json::to_string(result)?;
        write_atomically(&self.path(&result.key), &line)?;
        Ok(line)
    }
}

/// Writes `results.jsonl` and `results.csv`.
pub(crate) fn write_tables(out: &Path, lines: &[String]) -> Result<()> {
    let mut text = lines.join("\n");
    text.push('\n');
    write_atomically(&out.join("results.jsonl"), &text)?;
    let results = lines.iter().map(|line| serde_json::from_str(line).context("a kept line is no result"));
    write_atomically(&out.join("results.csv"), &csv(&results.collect::<Result<Vec<_>>>()?))
}

/// Formats a row for each cell and a column for each metric.
fn csv(results: &[Cell]) -> String {
    let names: BTreeSet<&String> = results.iter().flat_map(|result| result.metrics.keys()).collect();
    let mut text = "cell,variant,size,seed,repeat,ok,wall_s".to_owned();
    for name in &names {
        let _ = write!(text, ",{name}");
    }
    text.push('\n');
    for result in results {
        let size = result.size.map(|size| size.to_string()).unwrap_or_default();
        let seed = result.seed.map(|seed| seed.to_string()).unwrap_or_default();
        let Cell { cell, variant, repeat, ok, wall_s, .. } = result;
        let _ = write!(text, "{cell},{variant},{size},{seed},{repeat},{ok},{wall_s}");
        for &name in &names {
            let value = result
                .metrics
                .get(name)
                .copied()
                .flatten()
                .map(|value| value.to_string())
                .unwrap_or_default();
            let _ = write!(text, ",{value}");
        }
        text.push('\n');
    }
    text
}

/// Writes a file that appears whole or not at all.
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
    use super::*;

    fn result(name: &str, ok: bool) -> Cell {
        let (cell, key, variant) = (name.to_owned(), format!("key-of-{name}"), "a".to_owned());
        let mut cell = Cell { cell, key, variant, ok, wall_s: 1.5, ..Cell::default() };
        cell.put("perplexity", 0.1 + 0.2);
        cell.put("nothing", f64::NAN);
        cell
    }

    #[test]
    fn a_finished_cell_is_kept_byte_for_byte_and_a_failed_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
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
