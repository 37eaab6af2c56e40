//! Measuring: the median, and the name of the processor.

/// Returns the middle value; of an even number, the mean of the two in the middle. NaN of nothing.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

/// Returns the processor's name, as the kernel has it; its architecture where there is none.
pub fn cpu_name() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_does_not_mind_order_or_outliers() {
        let bits = |values: &[f64]| median(values).to_bits();
        assert_eq!(bits(&[3.0, 1000.0, 1.0]), 3.0_f64.to_bits());
        assert_eq!(bits(&[4.0, 1.0, 2.0, 3.0]), 2.5_f64.to_bits());
        assert!(median(&[]).is_nan());
    }
}
