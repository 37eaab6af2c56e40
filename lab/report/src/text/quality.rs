//! Exact matches of a variant against the reference's, record by record.

use std::collections::BTreeMap;

use crate::select::{Results, Select};
use crate::stats::sign_test;

/// Records on which one of two is right and the other is not, and what chance says of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Disagreement {
    /// Records that both answered.
    pub(crate) records: usize,
    /// Records that only the variant has right.
    pub(crate) only_variant: u64,
    /// Records that only the reference has right.
    pub(crate) only_reference: u64,
    /// Probability of such an uneven split between equals.
    pub(crate) p: f64,
}

/// Compares exact matches of the first run of a selection with those of the reference.
pub(crate) fn exact_against_reference(results: &Results, select: Select<'_>) -> Option<Disagreement> {
    let exact = |select: Select<'_>| -> BTreeMap<String, bool> {
        let texts = results.cells_of(select).find(|cell| !cell.texts.is_empty()).map(|cell| &cell.texts);
        let known = texts.into_iter().flatten();
        known.filter_map(|text| Some((text.key(), text.is_exact()?))).collect()
    };
    let own = exact(select);
    let reference = exact(Select { variant: &results.experiment.reference, ..select });
    let pairs: Vec<(bool, bool)> =
        own.iter().filter_map(|(id, right)| Some((*right, *reference.get(id)?))).collect();
    if pairs.is_empty() {
        return None;
    }
    let count = |which: (bool, bool)| pairs.iter().filter(|pair| **pair == which).count() as u64;
    let (only_variant, only_reference) = (count((true, false)), count((false, true)));
    Some(Disagreement {
        records: pairs.len(),
        only_variant,
        only_reference,
        p: sign_test(only_variant, only_reference),
    })
}
