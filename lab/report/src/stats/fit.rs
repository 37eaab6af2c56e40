//! Fits by least squares.

/// `y = offset + slope · x`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Line {
    pub(crate) offset: f64,
    pub(crate) slope: f64,
    /// The part of the variance that it explains.
    pub(crate) r2: f64,
}

/// `y = factor · x^exponent`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Power {
    pub(crate) factor: f64,
    pub(crate) exponent: f64,
    /// The part of the variance of the logarithms that it explains.
    pub(crate) r2: f64,
}

impl Line {
    /// Returns the line at `x`.
    pub(crate) fn at(&self, x: f64) -> f64 {
        self.offset + self.slope * x
    }
}

impl Power {
    /// Returns the curve at `x`.
    pub(crate) fn at(&self, x: f64) -> f64 {
        self.factor * x.powf(self.exponent)
    }
}

/// Returns the line nearest to `points`; nothing where fewer than three different `x` leave nothing to explain.
pub(crate) fn line(points: &[(f64, f64)]) -> Option<Line> {
    let mut different: Vec<f64> = points.iter().map(|point| point.0).collect();
    different.sort_by(f64::total_cmp);
    different.dedup();
    if different.len() < 3 {
        return None;
    }
    let n = points.len() as f64;
    let mean_x = points.iter().map(|point| point.0).sum::<f64>() / n;
    let mean_y = points.iter().map(|point| point.1).sum::<f64>() / n;
    let (mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0);
    for &(x, y) in points {
        xx += (x - mean_x).powi(2);
        xy += (x - mean_x) * (y - mean_y);
        yy += (y - mean_y).powi(2);
    }
    let slope = xy / xx;
    let offset = mean_y - slope * mean_x;
    let rest: f64 = points.iter().map(|&(x, y)| (y - offset - slope * x).powi(2)).sum();
    let r2 = if yy > 0.0 { 1.0 - rest / yy } else { 1.0 };
    (slope.is_finite() && offset.is_finite()).then_some(Line { offset, slope, r2 })
}

/// Returns the power law nearest to `points` in logarithms of both axes.
pub(crate) fn power(points: &[(f64, f64)]) -> Option<Power> {
    let positive = points.iter().filter(|(x, y)| *x > 0.0 && *y > 0.0);
    let logs: Vec<(f64, f64)> = positive.map(|(x, y)| (x.ln(), y.ln())).collect();
    let Line { offset, slope, r2 } = line(&logs)?;
    Some(Power { factor: offset.exp(), exponent: slope, r2 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_lines_and_power_laws_are_recovered() {
        let found = line(&[(1.0, 5.0), (2.0, 7.0), (4.0, 11.0)]).unwrap();
        assert!((found.offset - 3.0).abs() < 1e-9 && (found.slope - 2.0).abs() < 1e-9);
        assert!((found.r2 - 1.0).abs() < 1e-9);
        let points: Vec<_> = [64.0_f64, 256.0, 1000.0].map(|x| (x, 6.0 * x.powf(-0.25))).into();
        let found = power(&points).unwrap();
        assert!((found.exponent + 0.25).abs() < 1e-9 && (found.factor - 6.0).abs() < 1e-9);
    }

    #[test]
    fn two_sizes_have_no_fit() {
        assert!(line(&[(1.0, 5.0), (2.0, 7.0), (2.0, 7.5)]).is_none());
    }
}
