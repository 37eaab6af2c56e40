//! Results, and numbers out of their cells.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use results::{Cell, Experiment, Kind, Variant};
use xtask::measure::median;

/// An experiment and its cells, in the order of the matrix.
#[derive(Debug, Clone)]
pub(crate) struct Results {
    pub(crate) experiment: Experiment,
    pub(crate) cells: Vec<Cell>,
    /// The directory that they were read from.
    pub(crate) dir: PathBuf,
}

/// Cells of a variant, and of one size where it is given.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Select<'a> {
    pub(crate) variant: &'a str,
    pub(crate) size: Option<usize>,
}

impl<'a> Select<'a> {
    pub(crate) fn all(variant: &'a str) -> Self {
        Self { variant, size: None }
    }

    fn holds(&self, cell: &Cell) -> bool {
        cell.ok && cell.variant == self.variant && (self.size.is_none() || cell.size == self.size)
    }
}

/// A number of a variant, and the reference's under the same seed, size and repetition.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Pair {
    pub(crate) value: f64,
    pub(crate) reference: f64,
}

/// Reads the results of one experiment, or of one of each kind, in the order of the lab's tasks.
pub(crate) fn load_all(dirs: &[PathBuf]) -> Result<Vec<Results>> {
    let mut all = dirs.iter().map(|dir| load(dir)).collect::<Result<Vec<_>>>()?;
    all.sort_by_key(|results| results.experiment.experiment == Kind::LoraVsQlora);
    let kinds: Vec<Kind> = all.iter().map(|results| results.experiment.experiment).collect();
    if all.len() > 1 && kinds != [Kind::MergeCompare, Kind::LoraVsQlora] {
        let (one, other) = (Kind::MergeCompare.name(), Kind::LoraVsQlora.name());
        bail!("a report of several experiments is made of one {one} and one {other}");
    }
    Ok(all)
}

/// Reads `experiment.json` and `results.jsonl` of `dir`. A last line that a killed run cut off is left out.
pub(crate) fn load(dir: &Path) -> Result<Results> {
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
    Ok(Results::new(experiment, cells, dir.to_owned()))
}

impl Results {
    /// Variants that only cells name come last; a missing reference is the one that this kind of experiment compares with.
    fn new(mut experiment: Experiment, cells: Vec<Cell>, dir: PathBuf) -> Self {
        for cell in &cells {
            if !experiment.variants.iter().any(|variant| variant.name == cell.variant) {
                experiment.variants.push(Variant { name: cell.variant.clone(), ..Variant::default() });
            }
        }
        if experiment.reference.is_empty() {
            let merges = experiment.experiment == Kind::MergeCompare;
            if merges { "adapter" } else { "lora" }.clone_into(&mut experiment.reference);
        }
        Self { experiment, cells, dir }
    }

    /// Returns true if any cell that ran has this number.
    pub(crate) fn has(&self, metric: &str) -> bool {
        self.cells.iter().any(|cell| cell.ok && cell.metric(metric).is_some())
    }

    /// Returns the name of the peak that counts: that of the device where there is one.
    pub(crate) fn peak_metric(&self) -> &'static str {
        if self.has("peak_device_mib") { "peak_device_mib" } else { "peak_host_mib" }
    }

    /// Returns the sizes that occur, ascending.
    pub(crate) fn sizes(&self) -> Vec<usize> {
        let ran = self.cells.iter().filter(|cell| cell.ok);
        let mut sizes: Vec<usize> = ran.filter_map(|cell| cell.size).collect();
        sizes.sort_unstable();
        sizes.dedup();
        sizes
    }

    /// Returns the variants of which at least one cell ran.
    pub(crate) fn ran(&self) -> Vec<&Variant> {
        let ran = |name: &str| self.cells_of(Select::all(name)).next().is_some();
        self.experiment.variants.iter().filter(|variant| ran(&variant.name)).collect()
    }

    /// Returns the variants that ran and are not the reference.
    pub(crate) fn others(&self) -> Vec<&Variant> {
        self.ran().into_iter().filter(|variant| variant.name != self.experiment.reference).collect()
    }

    /// Returns the variant of a name, if a cell of it ran.
    pub(crate) fn variant(&self, name: &str) -> Option<&Variant> {
        self.ran().into_iter().find(|variant| variant.name == name)
    }

    pub(crate) fn cells_of<'a>(&'a self, select: Select<'a>) -> impl Iterator<Item = &'a Cell> {
        self.cells.iter().filter(move |cell| select.holds(cell))
    }

    /// Returns a number of every cell of a selection.
    pub(crate) fn values(&self, select: Select<'_>, metric: &str) -> Vec<f64> {
        self.cells_of(select).filter_map(|cell| cell.metric(metric)).collect()
    }

    /// Returns the median of a number over a selection.
    pub(crate) fn median(&self, select: Select<'_>, metric: &str) -> Option<f64> {
        let values = self.values(select, metric);
        (!values.is_empty()).then(|| median(&values))
    }

    /// Returns a number of each seed: the median over its repetitions.
    fn by_seed(&self, select: Select<'_>, metric: &str) -> BTreeMap<Option<u64>, f64> {
        let mut seeds: BTreeMap<Option<u64>, Vec<f64>> = BTreeMap::new();
        for cell in self.cells_of(select) {
            if let Some(value) = cell.metric(metric) {
                seeds.entry(cell.seed).or_default().push(value);
            }
        }
        seeds.into_iter().map(|(seed, values)| (seed, median(&values))).collect()
    }

    /// Pairs by seed: the seed differs between pairs, not the repetition.
    pub(crate) fn seed_pairs(&self, select: Select<'_>, metric: &str) -> Vec<Pair> {
        let reference = self.by_seed(Select { variant: &self.experiment.reference, ..select }, metric);
        let own = self.by_seed(select, metric);
        let pair = |(seed, value)| Some(Pair { value, reference: *reference.get(&seed)? });
        own.into_iter().filter_map(pair).collect()
    }

    /// Pairs a variant with another by size, seed and repetition: runs that lay beside each other in time.
    pub(crate) fn run_pairs(&self, select: Select<'_>, other: &str, metric: &str) -> Vec<Pair> {
        let key = |cell: &Cell| (cell.size, cell.seed, cell.repeat);
        let reference = Select { variant: other, ..select };
        let reference: BTreeMap<_, f64> =
            self.cells_of(reference).filter_map(|cell| Some((key(cell), cell.metric(metric)?))).collect();
        let pair =
            |cell: &Cell| Some(Pair { value: cell.metric(metric)?, reference: *reference.get(&key(cell))? });
        self.cells_of(select).filter_map(pair).collect()
    }
}
