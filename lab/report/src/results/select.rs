//! Numbers out of cells.

use std::collections::BTreeMap;

use super::{Cell, Results};
use crate::stats::median;

/// Which cells: those of a variant, and of one size where it is given.
#[derive(Debug, Clone, Copy)]
pub struct Select<'a> {
    /// Name of the variant.
    pub variant: &'a str,
    /// Records.
    pub size: Option<u64>,
}

impl<'a> Select<'a> {
    /// All cells of a variant.
    pub fn all(variant: &'a str) -> Self {
        Self { variant, size: None }
    }

    /// The cells of a variant and a size.
    pub fn sized(variant: &'a str, size: u64) -> Self {
        Self { variant, size: Some(size) }
    }

    fn holds(&self, cell: &Cell) -> bool {
        cell.ok && cell.variant == self.variant && (self.size.is_none() || cell.size == self.size)
    }
}

/// A number of a variant and the same of the reference, measured under the same seed, size and repetition.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    /// Of the variant.
    pub value: f64,
    /// Of the reference.
    pub reference: f64,
}

impl Results {
    /// The cells of a selection.
    pub fn cells_of<'a>(&'a self, select: Select<'a>) -> impl Iterator<Item = &'a Cell> {
        self.cells.iter().filter(move |cell| select.holds(cell))
    }

    /// A number of every cell of a selection.
    pub fn values(&self, select: Select<'_>, metric: &str) -> Vec<f64> {
        self.cells_of(select).filter_map(|cell| cell.metric(metric)).collect()
    }

    /// A number of each seed: the median over its repetitions.
    pub fn by_seed(&self, select: Select<'_>, metric: &str) -> BTreeMap<Option<u64>, f64> {
        let mut seeds: BTreeMap<Option<u64>, Vec<f64>> = BTreeMap::new();
        for cell in self.cells_of(select) {
            if let Some(value) = cell.metric(metric) {
                seeds.entry(cell.seed).or_default().push(value);
            }
        }
        seeds.into_iter().map(|(seed, values)| (seed, median(&values))).collect()
    }

    /// Pairs by seed: what differs is the seed, not the repetition.
    pub fn seed_pairs(&self, select: Select<'_>, metric: &str) -> Vec<Pair> {
        let reference = self.by_seed(Select { variant: &self.experiment.reference, ..select }, metric);
        let own = self.by_seed(select, metric);
        let pair = |(seed, value)| Some(Pair { value, reference: *reference.get(&seed)? });
        own.into_iter().filter_map(pair).collect()
    }

    /// Pairs by size, seed and repetition: runs that lay beside each other in time.
    pub fn run_pairs(&self, select: Select<'_>, metric: &str) -> Vec<Pair> {
        let key = |cell: &Cell| (cell.size, cell.seed, cell.repeat);
        let reference = Select { variant: &self.experiment.reference, ..select };
        let reference: BTreeMap<_, f64> =
            self.cells_of(reference).filter_map(|cell| Some((key(cell), cell.metric(metric)?))).collect();
        let pair =
            |cell: &Cell| Some(Pair { value: cell.metric(metric)?, reference: *reference.get(&key(cell))? });
        self.cells_of(select).filter_map(pair).collect()
    }
}
