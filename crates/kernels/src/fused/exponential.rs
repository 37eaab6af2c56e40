//! The exponential function in lanes.

/// `e^x` without a branch, within two units in the last place: `2^n · e^r` with `|r| ≤ ln(2) / 2`, by the polynomial of
/// Cephes' `expf` (Moshier, 1992). Below -87.3 it is 0, above 88.37, where float32 ends, it stays.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    let clamped = x.clamp(-87.3, 88.37);
    let n = (clamped * std::f32::consts::LOG2_E).round_ties_even();
    let r = clamped - n * LN_2[0] - n * LN_2[1];
    let mut p = 1.987_569_1e-4;
    for coefficient in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5e-1] {
        p = p * r + coefficient;
    }
    let power = f32::from_bits(((n as i32 + 127) << 23) as u32);
    let e = (p * r * r + r + 1.0) * power;
    // NaN compares with nothing and comes through `clamp`.
    if x < -87.3 { 0.0 } else { e }
}

#[cfg(test)]
mod tests {
    use super::exp;

    #[test]
    fn the_exponential_is_that_of_the_standard_library_at_both_ends_and_between() {
        for step in -9000..=8837 {
            let x = step as f32 / 100.0;
            let (ours, exact) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((ours - exact).abs() <= 3e-7 * exact + 1e-37, "{x}: {ours} for {exact}");
        }
        assert_eq!(exp(f32::NEG_INFINITY).to_bits(), 0);
        assert!(exp(f32::NAN).is_nan());
    }
}
