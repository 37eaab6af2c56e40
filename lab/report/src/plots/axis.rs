//! Axes: coordinates of numbers, and ticks.

use super::{Axis, Scale};

/// An axis over the numbers it has to show, from `start` to `end` in units.
pub(crate) struct Ruler {
    low: f64,
    high: f64,
    log: bool,
    start: f64,
    end: f64,
    /// Places of ticks and what is written there.
    pub(crate) ticks: Vec<(f64, String)>,
}

impl Ruler {
    pub(crate) fn new(axis: &Axis, values: &[f64], start: f64, end: f64) -> Self {
        let log = axis.scale == Scale::Log;
        let usable = values.iter().copied().filter(|value| value.is_finite() && (!log || *value > 0.0));
        let (low, high) = usable
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        let (low, high) = if low > high { (1.0, 10.0) } else { (low, high) };
        let mut ruler = Self { low, high, log, start, end, ticks: Vec::new() };
        if log {
            ruler.widen_log(axis);
        } else {
            ruler.widen_linear(axis);
        }
        ruler
    }

    fn widen_log(&mut self, axis: &Axis) {
        let margin = ((self.high / self.low).ln() * 0.04).max(0.02).exp();
        (self.low, self.high) = (self.low / margin, self.high * margin);
        let ticks = if axis.ticks.is_empty() { log_ticks(self.low, self.high) } else { axis.ticks.clone() };
        self.mark(&ticks);
    }

    fn widen_linear(&mut self, axis: &Axis) {
        if axis.scale == Scale::FromZero {
            (self.low, self.high) = (self.low.min(0.0), self.high.max(0.0));
        }
        if self.high - self.low < f64::EPSILON * self.high.abs().max(1.0) {
            self.high = self.low + self.low.abs().max(1.0) * 0.1;
        }
        let step = nice_step((self.high - self.low) / 5.0);
        let margin = if axis.scale == Scale::FromZero { 0.0 } else { (self.high - self.low) * 0.03 };
        // A loss, a time or a memory is never below nothing, so neither is its axis.
        let least = if self.low >= 0.0 { 0.0 } else { f64::NEG_INFINITY };
        self.low = (((self.low - margin) / step).floor() * step).max(least);
        self.high = ((self.high + margin) / step - 1e-6).ceil() * step;
        let count = ((self.high - self.low) / step).round() as i64;
        let ticks: Vec<f64> = (0..=count).map(|index| self.low + index as f64 * step).collect();
        self.mark(if axis.ticks.is_empty() { &ticks } else { &axis.ticks });
    }

    fn mark(&mut self, ticks: &[f64]) {
        let inside =
            ticks.iter().filter(|&&tick| tick >= self.low * (1.0 - 1e-9) && tick <= self.high * (1.0 + 1e-9));
        let places = inside.map(|&tick| (self.place(tick), tick_label(tick, ticks)));
        self.ticks = places.collect();
    }

    /// Returns the coordinate of a number; on a logarithmic axis that of 0 and less is its start.
    pub(crate) fn place(&self, value: f64) -> f64 {
        let part = if self.log {
            if value <= 0.0 { 0.0 } else { (value / self.low).ln() / (self.high / self.low).ln() }
        } else {
            (value - self.low) / (self.high - self.low)
        };
        self.start + (self.end - self.start) * part.clamp(0.0, 1.0)
    }
}

/// Returns 1, 2 or 5 times a power of ten, not below `least`.
fn nice_step(least: f64) -> f64 {
    let power = 10f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|digit| digit * power)
        .find(|step| *step >= least * 0.999)
        .unwrap_or(power)
}

/// Powers of ten where there are several; else 1, 2 and 5 times them, or finer still.
fn log_ticks(low: f64, high: f64) -> Vec<f64> {
    let decades = (high / low).log10();
    if decades < 0.5 {
        let step = nice_step((high - low) / 8.0);
        let first = (low / step).ceil() as i64;
        return (first..=(high / step).floor() as i64).map(|index| index as f64 * step).collect();
    }
    let every = (decades / 7.0).ceil().max(1.0) as usize;
    let digits: &[f64] = if decades < 2.5 { &[1.0, 2.0, 5.0] } else { &[1.0] };
    let powers = (low.log10().floor() as i32..=high.log10().ceil() as i32).step_by(every);
    let all = powers.flat_map(|power| digits.iter().map(move |digit| digit * 10f64.powi(power)));
    all.filter(|tick| *tick >= low && *tick <= high).collect()
}

/// Formats a tick with as many decimals as tell it from its neighbours.
fn tick_label(tick: f64, ticks: &[f64]) -> String {
    let largest = ticks.iter().fold(0.0f64, |largest, tick| largest.max(tick.abs()));
    if tick == 0.0 || tick.abs() < largest * 1e-9 {
        return "0".to_owned();
    }
    let smallest =
        ticks.iter().filter(|tick| **tick != 0.0).fold(f64::INFINITY, |least, tick| least.min(tick.abs()));
    if largest / smallest > 9e4 || !(1e-3..1e6).contains(&tick.abs()) {
        let power = tick.abs().log10().floor() as i32;
        let digit = tick / 10f64.powi(power);
        let power = crate::format::superscript(power);
        return if (digit - 1.0).abs() < 1e-9 {
            format!("10{power}")
        } else {
            format!("{digit:.0}×10{power}")
        };
    }
    let decimals = (0..6).find(|&decimals| {
        let scaled = tick * 10f64.powi(decimals);
        (scaled - scaled.round()).abs() < 1e-6 * scaled.abs().max(1.0)
    });
    crate::format::grouped(tick, decimals.unwrap_or(6) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_from_zero_ends_at_a_round_number_above_the_data() {
        let ruler = Ruler::new(&Axis::new("", Scale::FromZero), &[3.0, 47.0], 0.0, 100.0);
        let labels: Vec<&str> = ruler.ticks.iter().map(|tick| tick.1.as_str()).collect();
        assert_eq!(labels, ["0", "10", "20", "30", "40", "50"]);
        assert!((ruler.place(25.0) - 50.0).abs() < 1e-9);
    }

    #[test]
    fn ticks_of_a_logarithmic_axis_are_the_sizes_that_were_measured() {
        let axis = Axis { ticks: vec![64.0, 256.0, 1000.0], ..Axis::new("", Scale::Log) };
        let ruler = Ruler::new(&axis, &[64.0, 1000.0], 0.0, 1.0);
        let labels: Vec<&str> = ruler.ticks.iter().map(|tick| tick.1.as_str()).collect();
        assert_eq!(labels, ["64", "256", "1,000"]);
    }

    #[test]
    fn one_number_and_none_have_an_axis() {
        for values in [&[][..], &[0.0], &[5.0, 5.0]] {
            for scale in [Scale::FromZero, Scale::Linear, Scale::Log] {
                let ruler = Ruler::new(&Axis::new("", scale), values, 0.0, 1.0);
                assert!(ruler.place(5.0).is_finite() && !ruler.ticks.is_empty(), "{values:?} {scale:?}");
            }
        }
    }
}
