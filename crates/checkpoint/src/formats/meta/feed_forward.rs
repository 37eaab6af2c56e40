//! Meta's formula for the width of a feed-forward block, and its inverse.

/// Finds `multiple_of` and `ffn_dim_multiplier` that give `width` by Meta's formula: those of the releases where they
/// fit, else any that do.
pub(super) fn multiple_and_multiplier(dim: i64, width: i64) -> (i64, Option<f64>) {
    let releases = [(256, None), (1024, Some(1.3)), (4096, Some(1.3)), (1024, Some(1.4)), (256, Some(1.5))];
    let powers = (0..13).rev().map(|power| (1 << power, None));
    let found = releases
        .into_iter()
        .chain(powers)
        .find(|&(multiple_of, multiplier)| self::width(dim, multiple_of, multiplier) == width);
    found.unwrap_or_else(|| {
        let multiple_of = 1 << width.trailing_zeros().min(12);
        // What is cut off to a whole number and then rounded up to this width lies from `width - multiple_of + 1` to
        // `width + 1`: the middle of that.
        let middle = (width + 1) as f64 - multiple_of as f64 / 2.0;
        (multiple_of, Some(middle / (dim * 8 / 3) as f64))
    })
}

/// Computes two thirds of four times the width, times the multiplier, rounded up to whole multiples (`llama/model.py`,
/// `FeedForward`).
pub(super) fn width(dim: i64, multiple_of: i64, multiplier: Option<f64>) -> i64 {
    let multiple_of = multiple_of.max(1);
    let width = dim.saturating_mul(8) / 3;
    let width = multiplier.map_or(width, |multiplier| (multiplier * width as f64) as i64);
    (width.saturating_add(multiple_of - 1) / multiple_of).saturating_mul(multiple_of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_feed_forward_width_has_parameters_that_give_it() {
        for dim in [64, 288, 2048, 4096, 8192] {
            for width in (1..4 * dim).step_by(if dim > 300 { 37 } else { 1 }) {
                let (multiple_of, multiplier) = multiple_and_multiplier(dim, width);
                assert_eq!(super::width(dim, multiple_of, multiplier), width, "{dim}");
            }
        }
    }
}
