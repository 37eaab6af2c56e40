//! The sign test.

/// Returns the exact two-sided sign test (McNemar): how probable it is that records on which only one of two is right fall at
/// least as unevenly as `only_first` against `only_second`, were both equally good.
pub(crate) fn sign_test(only_first: u64, only_second: u64) -> f64 {
    let n = only_first + only_second;
    let least = only_first.min(only_second);
    // Logarithms, since 2ⁿ overflows soon.
    let mut log_term = -(n as f64) * std::f64::consts::LN_2;
    let mut sum = 0.0;
    for k in 0..=least {
        sum += log_term.exp();
        log_term += ((n - k) as f64 / (k + 1) as f64).ln();
    }
    (2.0 * sum).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_to_nothing_is_rare_and_three_to_three_is_not() {
        assert!((sign_test(6, 0) - 2.0 / 64.0).abs() < 1e-12);
        assert!((sign_test(3, 3) - 1.0).abs() < 1e-12);
        assert!((sign_test(0, 0) - 1.0).abs() < 1e-12);
        assert!(sign_test(2000, 1000) < 1e-12);
    }
}
