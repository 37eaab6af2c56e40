//! Words and progress of the set-up, on stderr.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use get_libtorch::{Report, size};

use crate::output::note;

/// Time between two lines of progress: on a terminal one line is written over, elsewhere each stays.
const ON_TERMINAL: Duration = Duration::from_millis(200);
const ELSEWHERE: Duration = Duration::from_secs(20);

/// Writes what the set-up does.
#[derive(Debug, Default)]
pub(crate) struct Fetching {
    /// The file, the bytes that were there when it began, and when.
    file: Option<(String, u64, Instant)>,
    last: Option<Instant>,
    line_is_open: bool,
}

impl Fetching {
    fn close_line(&mut self) {
        if std::mem::take(&mut self.line_is_open) {
            note("");
        }
    }
}

impl Report for Fetching {
    fn note(&mut self, line: &str) {
        self.close_line();
        note(line);
    }

    fn progress(&mut self, name: &str, done: u64, total: Option<u64>) {
        let is_new = self.file.as_ref().is_none_or(|(of, ..)| of != name);
        if is_new {
            self.close_line();
            self.file = Some((name.to_owned(), done, Instant::now()));
        }
        let Some((_, first, start)) = &self.file else { return };
        let is_terminal = std::io::stderr().is_terminal();
        let pause = if is_terminal { ON_TERMINAL } else { ELSEWHERE };
        let is_done = Some(done) == total;
        if !is_done && !is_new && self.last.is_some_and(|last| last.elapsed() < pause) {
            return;
        }
        self.last = Some(Instant::now());
        let line =
            line(name, done, total, done.saturating_sub(*first) as f64 / start.elapsed().as_secs_f64());
        if is_terminal {
            let _ = write!(std::io::stderr(), "\r{line}\x1b[K");
            self.line_is_open = true;
        } else {
            note(&line);
        }
    }
}

fn line(name: &str, done: u64, total: Option<u64>, bytes_per_s: f64) -> String {
    let of = total.map(|total| format!(" of {}", size(total))).unwrap_or_default();
    let left =
        total.map(|total| total.saturating_sub(done) as f64 / bytes_per_s).filter(|left| left.is_finite());
    let left = left.filter(|left| *left >= 1.0).map(|left| format!(", {left:.0} s left")).unwrap_or_default();
    format!("{name}: {}{of}{left}", size(done))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_much_is_there_and_how_long_it_takes() {
        assert_eq!(
            line("torch.whl", 200_000_000, Some(530_000_000), 10e6),
            "torch.whl: 200 MB of 530 MB, 33 s left"
        );
        assert_eq!(line("torch.whl", 0, Some(530_000_000), f64::NAN), "torch.whl: 0 KB of 530 MB");
        assert_eq!(line("torch.whl", 1_000, None, 1.0), "torch.whl: 1 KB");
    }
}
