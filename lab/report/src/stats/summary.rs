//! Medians and spreads.

use xtask::measure::median;

/// Median and range of repeated measurements.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Summary {
    /// Number of values.
    pub(crate) n: usize,
    /// The middle one.
    pub(crate) median: f64,
    /// The smallest.
    pub(crate) low: f64,
    /// The largest.
    pub(crate) high: f64,
}

/// Returns the summary of `values`; nothing of none.
pub(crate) fn summary(values: &[f64]) -> Option<Summary> {
    let low = values.iter().copied().reduce(f64::min)?;
    let high = values.iter().copied().reduce(f64::max)?;
    Some(Summary { n: values.len(), median: median(values), low, high })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_ignores_order_and_outliers() {
        let of = |values: &[f64]| summary(values).unwrap();
        assert_eq!(of(&[3.0, 1000.0, 1.0]), Summary { n: 3, median: 3.0, low: 1.0, high: 1000.0 });
        assert!(summary(&[]).is_none());
    }
}
