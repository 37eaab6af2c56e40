//! Two series of times beside each other.

use serde::Serialize;
use xtask::measure::median;

/// Seconds of both sides, a pair for each round.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Pairs {
    /// Seconds of our program.
    pub(crate) rust_s: Vec<f64>,
    /// Seconds of the peer.
    pub(crate) python_s: Vec<f64>,
}

/// Medians and ratios of [`Pairs`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Comparison {
    /// Median seconds of our program.
    pub(crate) rust_s: f64,
    /// Median seconds of the peer.
    pub(crate) python_s: f64,
    /// Median time of the peer over ours: above 1, ours is faster.
    pub(crate) ratio: f64,
    /// The smallest ratio of one round.
    pub(crate) lowest_ratio: f64,
    /// The largest.
    pub(crate) highest_ratio: f64,
}

impl Pairs {
    pub(crate) fn push(&mut self, rust_s: f64, python_s: f64) {
        self.rust_s.push(rust_s);
        self.python_s.push(python_s);
    }

    pub(crate) fn compare(&self) -> Comparison {
        let ratios = || self.python_s.iter().zip(&self.rust_s).map(|(python, rust)| python / rust);
        let (rust_s, python_s) = (median(&self.rust_s), median(&self.python_s));
        Comparison {
            rust_s,
            python_s,
            ratio: python_s / rust_s,
            lowest_ratio: ratios().fold(f64::INFINITY, f64::min),
            highest_ratio: ratios().fold(f64::NEG_INFINITY, f64::max),
        }
    }
}

impl Comparison {
    /// Shows the ratio and its range.
    pub(crate) fn ratios(&self) -> String {
        format!("{:.2} ({:.2} to {:.2})", self.ratio, self.lowest_ratio, self.highest_ratio)
    }
}

impl std::fmt::Display for Comparison {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ratios = self.ratios().replace('(', "(single rounds ");
        write!(formatter, "rust {:.3} s, python {:.3} s, ratio {ratios}", self.rust_s, self.python_s)
    }
}

/// Shows the median of the rounds, and the lowest and highest where there are several.
pub(crate) fn spread(values: &[f64], digits: usize) -> String {
    let median = median(values);
    let lowest = values.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    match values.len() {
        0 | 1 => format!("{median:.digits$}"),
        _ => format!("{median:.digits$} ({lowest:.digits$} to {highest:.digits$})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_above_one_means_that_ours_is_faster() {
        let mut pairs = Pairs::default();
        for (rust, python) in [(1.0, 2.0), (2.0, 3.0), (1.5, 6.0)] {
            pairs.push(rust, python);
        }
        let compared = pairs.compare();
        assert_eq!((compared.rust_s, compared.python_s, compared.ratio), (1.5, 3.0, 2.0));
        assert_eq!((compared.lowest_ratio, compared.highest_ratio), (1.5, 4.0));
    }
}
