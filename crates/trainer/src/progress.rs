//! Progress on stderr.

use std::collections::VecDeque;
use std::io::{IsTerminal, Write, stderr};
use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::metrics::{EvalRecord, StepRecord};
use crate::report::{Reporter, RunInfo, StepProgress};

/// One line for each line of metrics, above a progress bar where stderr is a terminal.
#[derive(Debug)]
pub struct ProgressReporter {
    quiet: bool,
    bar: Option<ProgressBar>,
    pace: Pace,
    total_steps: u64,
}

impl ProgressReporter {
    /// Creates a reporter for a run that is about to start.
    pub fn new() -> Self {
        let bar = stderr().is_terminal().then(|| ProgressBar::new(0));
        Self { quiet: false, bar, pace: Pace::default(), total_steps: 0 }
    }

    /// Shows notes only, where `quiet` is set.
    #[must_use]
    pub fn quiet(self, quiet: bool) -> Self {
        Self { quiet, bar: self.bar.filter(|_| !quiet), ..self }
    }

    fn line(&self, text: &str) {
        if !self.quiet {
            self.print(text);
        }
    }

    fn print(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| print_line(text)),
            None => print_line(text),
        }
    }

    fn time_left(&self, step: u64) -> Duration {
        self.pace.time_of(self.total_steps.saturating_sub(step))
    }
}

impl Default for ProgressReporter {
    fn default() -> Self {
        Self::new()
    }
}

impl Reporter for ProgressReporter {
    fn started(&mut self, info: &RunInfo) {
        self.total_steps = info.total_steps;
        self.pace = Pace::default();
        self.pace.step(Instant::now());
        if let Some(bar) = &self.bar {
            let style = ProgressStyle::with_template("{bar:24} {pos}/{len}  {msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_length(info.total_steps);
            bar.set_position(info.step);
        }
    }

    fn stepped(&mut self, progress: &StepProgress) {
        self.pace.step(Instant::now());
        if let Some(bar) = &self.bar {
            let StepProgress { step, loss, learning_rate, tokens_per_s, memory_mib, .. } = *progress;
            bar.set_message(figures(loss, learning_rate, tokens_per_s, self.time_left(step), memory_mib));
            bar.set_position(step);
        }
    }

    fn logged(&mut self, record: &StepRecord) {
        let StepRecord { step, loss, learning_rate, tokens_per_s, memory_mib, .. } = *record;
        let figures = figures(loss, learning_rate, tokens_per_s, self.time_left(step), memory_mib);
        self.line(&format!("step {step}/{}  {figures}", self.total_steps));
    }

    fn evaluating(&mut self, done: usize, total: usize) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("evaluating {done}/{total}"));
        }
    }

    fn evaluated(&mut self, record: &EvalRecord, is_best: bool) {
        let best = if is_best { " (lowest so far)" } else { "" };
        self.line(&format!("step {}: validation loss {:.4}{best}", record.step, record.eval_loss));
    }

    fn saved(&mut self, checkpoint: &Path) {
        self.line(&format!("saved {}", checkpoint.display()));
    }

    fn note(&mut self, text: &str) {
        self.print(&format!("note: {text}"));
    }

    fn ended(&mut self) {
        if let Some(bar) = &self.bar {
            bar.abandon();
        }
    }
}

/// The ends of the last steps, so that an estimate follows a machine that others begin, or cease, to use.
#[derive(Debug, Default)]
pub struct Pace(VecDeque<Instant>);

impl Pace {
    /// Steps whose mean is the estimate.
    const STEPS: usize = 32;

    /// Notes the end of a step, or the beginning of the first.
    pub fn step(&mut self, now: Instant) {
        self.0.push_back(now);
        if self.0.len() > Self::STEPS + 1 {
            self.0.pop_front();
        }
    }

    /// Estimates the time of `steps` steps, with what comes between them.
    pub fn time_of(&self, steps: u64) -> Duration {
        match (self.0.front(), self.0.back()) {
            (Some(first), Some(last)) if self.0.len() > 1 => {
                last.duration_since(*first).mul_f64(steps as f64 / (self.0.len() - 1) as f64)
            }
            _ => Duration::ZERO,
        }
    }
}

/// Writes a line to stderr. A message that finds no reader is lost; it never ends a run.
fn print_line(text: &str) {
    let _ = stderr().lock().write_all(format!("{text}\n").as_bytes());
}

fn figures(
    loss: Option<f64>,
    learning_rate: f64,
    tokens_per_s: f64,
    left: Duration,
    memory_mib: u64,
) -> String {
    let loss = loss.map_or("none".to_owned(), |loss| format!("{loss:.4}"));
    let seconds = left.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!(
        "loss {loss}  lr {learning_rate:.2e}  {tokens_per_s:.0} tokens/s  {hours}:{minutes:02}:{seconds:02} left  \
         {memory_mib} MiB"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_follows_the_last_steps() {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        pace.step(now);
        assert_eq!(pace.time_of(5), Duration::ZERO);
        for step in 0..100 {
            now += Duration::from_secs(if step < 60 { 10 } else { 1 });
            pace.step(now);
            if step == 0 {
                assert_eq!(pace.time_of(5), Duration::from_secs(50));
            }
        }
        assert_eq!(pace.time_of(7), Duration::from_secs(7));
    }

    #[test]
    fn figures_are_readable() {
        let text = figures(Some(1.23456), 2.97e-4, 812.4, Duration::from_secs(3725), 512);
        assert_eq!(text, "loss 1.2346  lr 2.97e-4  812 tokens/s  1:02:05 left  512 MiB");
    }
}
