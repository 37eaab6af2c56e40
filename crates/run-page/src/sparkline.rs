//! A curve in a line of text.

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Draws `values` as a line of at most `width` characters, from the lowest bar for the least to the highest for the most: each
/// the mean of its share of the values. Values that are no numbers are left out; of none there is no line.
pub fn sparkline(values: &[f64], width: usize) -> String {
    let values: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    let width = width.min(values.len());
    let share = |index: usize| {
        let part = &values[index * values.len() / width..(index + 1) * values.len() / width];
        part.iter().sum::<f64>() / part.len() as f64
    };
    let means: Vec<f64> = (0..width).map(share).collect();
    let least = means.iter().copied().fold(f64::INFINITY, f64::min);
    let most = means.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let bar = |mean: f64| {
        let height = if most > least { (mean - least) / (most - least) } else { 0.0 };
        BARS[((height * 7.0).round() as usize).min(7)]
    };
    means.into_iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_is_highest_and_the_least_lowest() {
        assert_eq!(sparkline(&[8.0, 4.5, 1.0, f64::NAN], 20), "█▅▁");
        assert_eq!(sparkline(&[3.0, 3.0], 20), "▁▁");
        assert_eq!(sparkline(&[], 20), "");
        let falling: Vec<f64> = (0..100).map(|step| 1.0 / f64::from(step + 1)).collect();
        assert_eq!(sparkline(&falling, 10).chars().count(), 10);
    }
}
