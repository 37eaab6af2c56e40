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

impl std::fmt::Display for Comparison {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "rust {:.3} s, python {:.3} s, ratio {:.2} (single rounds {:.2} to {:.2})",
            self.rust_s, self.python_s, self.ratio, self.lowest_ratio, self.highest_ratio
        )
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
