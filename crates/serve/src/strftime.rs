//! Dates for chat templates: the parts of C's `strftime` that templates use, in UTC.

use std::fmt::Write;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];

/// The time `unix_s` seconds after 1970 in a format; a code that is not known stays as it is.
pub(crate) fn strftime(format: &str, unix_s: u64) -> String {
    let days = (unix_s / 86_400) as i64;
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (unix_s / 3600 % 24, unix_s / 60 % 60, unix_s % 60);
    let (month_name, day_name) = (MONTHS[month - 1], DAYS[(days % 7) as usize]);
    let mut text = String::new();
    let mut chars = format.chars();
    while let Some(char) = chars.next() {
        if char != '%' {
            text.push(char);
            continue;
        }
        let _ = match chars.next() {
            Some('Y') => write!(text, "{year}"),
            Some('y') => write!(text, "{:02}", year % 100),
            Some('m') => write!(text, "{month:02}"),
            Some('d') => write!(text, "{day:02}"),
            Some('B') => write!(text, "{month_name}"),
            Some('b') => write!(text, "{}", &month_name[..3]),
            Some('A') => write!(text, "{day_name}"),
            Some('a') => write!(text, "{}", &day_name[..3]),
            Some('H') => write!(text, "{hour:02}"),
            Some('M') => write!(text, "{minute:02}"),
            Some('S') => write!(text, "{second:02}"),
            Some('%') | None => write!(text, "%"),
            Some(other) => write!(text, "%{other}"),
        };
    }
    text
}

/// Year, month and day of a day after 1970 (Howard Hinnant, "chrono-compatible low-level date algorithms",
/// `civil_from_days`).
fn civil(days: i64) -> (i64, usize, i64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month as usize, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_equal_those_of_pythons_strftime() {
        // datetime.fromtimestamp(n, timezone.utc).strftime("%A %a %d %b %B %Y %y %m %H:%M:%S %%")
        let format = "%A %a %d %b %B %Y %y %m %H:%M:%S %%";
        assert_eq!(strftime(format, 0), "Thursday Thu 01 Jan January 1970 70 01 00:00:00 %");
        assert_eq!(strftime(format, 1_709_210_096), "Thursday Thu 29 Feb February 2024 24 02 12:34:56 %");
        assert_eq!(strftime(format, 4_107_542_399), "Sunday Sun 28 Feb February 2100 00 02 23:59:59 %");
    }
}
