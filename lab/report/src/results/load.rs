//! Reading a directory of results.

use std::path::Path;

use anyhow::{Context, Result, bail};

use super::{Cell, Experiment, Kind, Variant};

/// All that a report is made from.
#[derive(Debug, Clone)]
pub struct Results {
    /// What was asked.
    pub experiment: Experiment,
    /// What came out, in the order of the matrix.
    pub cells: Vec<Cell>,
}

/// Reads `experiment.json` and `results.jsonl` of `dir`. A last line that a killed run cut off is left out.
///
/// # Errors
/// When a file is missing or says what no experiment says.
pub fn load(dir: &Path) -> Result<Results> {
    let read = |name: &str| {
        let path = dir.join(name);
        std::fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))
    };
    let experiment = serde_json::from_str(&read("experiment.json")?)
        .with_context(|| format!("`{}` is not an experiment", dir.join("experiment.json").display()))?;
    let text = read("results.jsonl")?;
    let mut cells = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        match serde_json::from_str::<Cell>(line) {
            Ok(cell) => cells.push(cell),
            Err(_) if !text.ends_with('\n') && index + 1 == text.lines().count() => {}
            Err(error) => {
                return Err(error).with_context(|| {
                    format!("line {} of `{}` is no cell", index + 1, dir.join("results.jsonl").display())
                });
            }
        }
    }
    if cells.is_empty() {
        bail!("`{}` has no finished cell; the report is made of at least one", dir.display());
    }
    Ok(Results::new(experiment, cells))
}

impl Results {
    /// Puts results together: variants that only the cells name come last, and a missing reference is the first variant
    /// that the kind of experiment compares with.
    pub fn new(mut experiment: Experiment, cells: Vec<Cell>) -> Self {
        for cell in &cells {
            if !experiment.variants.iter().any(|variant| variant.name == cell.variant) {
                experiment.variants.push(Variant { name: cell.variant.clone(), ..Variant::default() });
            }
        }
        if experiment.reference.is_empty() {
            experiment.reference = match experiment.experiment {
                Kind::MergeCompare => "adapter".to_owned(),
                Kind::LoraVsQlora => "lora".to_owned(),
            };
        }
        Self { experiment, cells }
    }

    /// The cells that did not run to their end.
    pub fn failed(&self) -> impl Iterator<Item = &Cell> {
        self.cells.iter().filter(|cell| !cell.ok)
    }

    /// Whether any cell that ran has this number.
    pub fn has(&self, metric: &str) -> bool {
        self.cells.iter().any(|cell| cell.ok && cell.metric(metric).is_some())
    }

    /// The sizes that occur, ascending.
    pub fn sizes(&self) -> Vec<u64> {
        let mut sizes: Vec<u64> =
            self.cells.iter().filter(|cell| cell.ok).filter_map(|cell| cell.size).collect();
        sizes.sort_unstable();
        sizes.dedup();
        sizes
    }

    /// Variants of which at least one cell ran.
    pub fn ran(&self) -> Vec<&Variant> {
        let ran = |name: &str| self.cells.iter().any(|cell| cell.ok && cell.variant == name);
        self.experiment.variants.iter().filter(|variant| ran(&variant.name)).collect()
    }

    /// The variant of a name, as long as a cell of it ran.
    pub fn variant(&self, name: &str) -> Option<&Variant> {
        self.ran().into_iter().find(|variant| variant.name == name)
    }
}
