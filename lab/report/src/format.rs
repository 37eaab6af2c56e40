//! Numbers as readers want them.

use crate::stats::{Interval, Summary};

/// Stands for a number that was not measured.
pub(crate) const NONE: &str = "–";

/// Formats a number with separated thousands and this many decimals.
pub(crate) fn grouped(value: f64, decimals: usize) -> String {
    let text = format!("{:.decimals$}", value.abs());
    let (whole, rest) = text
        .split_once('.')
        .map_or((text.as_str(), String::new()), |(whole, rest)| (whole, format!(".{rest}")));
    let mut out = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    let is_zero = text.chars().all(|letter| matches!(letter, '0' | '.'));
    format!("{}{out}{rest}", if value < 0.0 && !is_zero { "−" } else { "" })
}

/// Decimals that show this many digits of `value`.
fn decimals(value: f64, digits: i32) -> usize {
    if value == 0.0 || !value.is_finite() {
        return 0;
    }
    let shown = |value: f64| (digits - 1 - value.abs().log10().floor() as i32).max(0);
    let first = shown(value);
    // 0.997 with two digits is 1.0, not 1.00.
    let rounded = (value * 10f64.powi(first)).round() / 10f64.powi(first);
    shown(rounded) as usize
}

/// Formats a number with this many significant digits; very small and very large ones by powers of ten.
pub(crate) fn significant(value: f64, digits: i32) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    if !(1e-4..1e9).contains(&value.abs()) {
        let text = format!("{value:.*e}", (digits - 1).max(0) as usize);
        let (digit, power) = text.split_once('e').unwrap_or((&text, "0"));
        let power = superscript(power.parse().unwrap_or(0));
        return format!("{digit}×10{power}").replace('-', "−");
    }
    grouped(value, decimals(value, digits))
}

/// Formats a power as small digits above the line.
pub(crate) fn superscript(power: i32) -> String {
    let digits = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    let letter = |letter: char| letter.to_digit(10).map_or('⁻', |digit| digits[digit as usize]);
    power.to_string().chars().map(letter).collect()
}

/// Formats a number, or a dash for none.
pub(crate) fn or_none(value: Option<f64>, show: impl Fn(f64) -> String) -> String {
    value.map_or_else(|| NONE.to_owned(), show)
}

/// Formats a fraction as per cent.
pub(crate) fn percent(part: f64) -> String {
    let value = part * 100.0 + 0.0; // Not −0.
    // 99.97 % is not all of it.
    if (99.95..100.0).contains(&value) {
        return format!("{value:.2}\u{a0}%").replace("100.00", "99.99");
    }
    format!("{value:.1}\u{a0}%")
}

/// Formats median and range: "12.1 (11.9–12.4)"; the median alone where all are equal.
pub(crate) fn spread(found: Option<Summary>, show: impl Fn(f64) -> String) -> String {
    let Some(found) = found else { return NONE.to_owned() };
    let (median, low, high) = (show(found.median), show(found.low), show(found.high));
    if low == high { median } else { format!("{median}\u{a0}({low}–{high})") }
}

/// Formats mean and 95 % interval: "0.012 [−0.003, 0.027]".
pub(crate) fn with_interval(found: &Interval, show: impl Fn(f64) -> String) -> String {
    format!("{}\u{a0}[{},\u{a0}{}]", show(found.mean), show(found.low), show(found.high))
}

/// Formats bytes in the unit that fits.
pub(crate) fn bytes(count: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let power = if count < 1.0 { 0 } else { ((count.log2() / 10.0) as usize).min(units.len() - 1) };
    let value = count / 1024f64.powi(power as i32);
    format!(
        "{}\u{a0}{}",
        if power == 0 { format!("{value:.0}") } else { significant(value, 3) },
        units[power]
    )
}

/// Picks a unit in which all of a column's seconds can be read, and how many of it are a second.
pub(crate) fn time_unit(largest: f64) -> (&'static str, f64) {
    if largest < 1.0 { ("ms", 1000.0) } else { ("s", 1.0) }
}

/// Formats seconds, as minutes or hours where there are many.
pub(crate) fn seconds(value: f64) -> String {
    if value < 0.1 {
        format!("{}\u{a0}ms", significant(value * 1000.0, 3))
    } else if value < 600.0 {
        format!("{}\u{a0}s", significant(value, 3))
    } else if value < 7200.0 {
        format!("{}\u{a0}min", significant(value / 60.0, 3))
    } else {
        format!("{}\u{a0}h", significant(value / 3600.0, 3))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_significant_digits() {
        assert_eq!(significant(1234.5, 3), "1,234");
        assert_eq!(significant(0.012_345, 3), "0.0123");
        assert_eq!(significant(-3.4e-7, 2), "−3.4×10⁻⁷");
        assert_eq!((significant(-0.997, 2), significant(0.0996, 2)), ("−1.0".to_owned(), "0.10".to_owned()));
        assert_eq!(grouped(-0.0001, 2), "0.00");
        assert_eq!((percent(0.99999), percent(1.0)), ("99.99\u{a0}%".to_owned(), "100.0\u{a0}%".to_owned()));
        assert_eq!(bytes(4_567_890.0), "4.36\u{a0}MiB");
        assert_eq!(
            (seconds(0.0123), seconds(900.0)),
            ("12.3\u{a0}ms".to_owned(), "15.0\u{a0}min".to_owned())
        );
    }
}
