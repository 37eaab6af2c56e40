//! Confidence intervals of means.

/// Student's t, two-sided 95 %, for 1 to 30 degrees of freedom.
const T_95: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
];

/// A mean and where it lies with 95 % confidence, if its values are independent and about normal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Interval {
    /// Number of values.
    pub(crate) n: usize,
    /// Their mean.
    pub(crate) mean: f64,
    /// Lower end.
    pub(crate) low: f64,
    /// Upper end.
    pub(crate) high: f64,
}

/// Side of a number that an interval is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Wholly below.
    Below,
    /// Around: no difference beyond noise.
    Around,
    /// Wholly above.
    Above,
}

/// Returns the 95 % interval of the mean of `values`; nothing of fewer than two.
pub(crate) fn interval(values: &[f64]) -> Option<Interval> {
    let n = values.len();
    if n < 2 {
        return None;
    }
    let mean = values.iter().sum::<f64>() / n as f64;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1) as f64;
    let t = T_95.get(n - 2).copied().unwrap_or(1.96);
    let half = t * (variance / n as f64).sqrt();
    Some(Interval { n, mean, low: mean - half, high: mean + half })
}

impl Interval {
    /// Returns the side of `zero` that it is on.
    pub(crate) fn side_of(&self, zero: f64) -> Side {
        if self.high < zero {
            Side::Below
        } else if self.low > zero {
            Side::Above
        } else {
            Side::Around
        }
    }

    /// Returns the interval of what the values are logarithms of.
    #[must_use]
    pub(crate) fn exp(self) -> Self {
        Self { n: self.n, mean: self.mean.exp(), low: self.low.exp(), high: self.high.exp() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_values_have_the_textbook_interval() {
        // Mean 2, standard deviation 1, t = 4.303: 2 ± 4.303 / √3.
        let found = interval(&[1.0, 2.0, 3.0]).unwrap();
        assert!((found.mean - 2.0).abs() < 1e-12);
        assert!((found.high - 2.0 - 2.4843).abs() < 1e-3);
        assert_eq!((found.side_of(0.0), found.side_of(5.0)), (Side::Around, Side::Below));
    }

    #[test]
    fn one_value_has_no_interval() {
        assert!(interval(&[1.0]).is_none());
    }
}
