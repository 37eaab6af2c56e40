//! One training step in company: beside loops that take the cores away.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::Result;
use serde_json::json;

use super::bars::Bar;
use super::setting::{Measured, Part, Setting};
use super::side_by_side::interleaved;
use super::stats::Pairs;
use super::step::step;
use xtask::measure::median;
use xtask::output::{note, say};

/// Loops where no other number is asked for.
const LOOPS: usize = 6;

/// Least part of (idle rate times fair share of the cores) that is kept.
const LEAST_PART: f64 = 0.7;

/// Dropout of both sides, the default.
const DROPOUT: f64 = 0.05;

pub(crate) fn run(setting: &Setting<'_>) -> Result<Option<Measured>> {
    if setting.args.busy_loops.is_none() && !setting.args.only.contains(&Part::Busy) {
        note("skipped: it takes long (--busy_loops)");
        return Ok(None);
    }
    let loops = setting.args.busy_loops.unwrap_or(LOOPS);
    let idle = measure(setting, "idle")?;
    let busy = beside(loops, || measure(setting, &format!("beside {loops} loops")))?;

    let (quiet, company) = (idle.compare(), busy.compare());
    say(&format!("step, idle: {quiet}"));
    say(&format!("step, beside {loops} busy loops: {company}"));
    let cores = thread::available_parallelism()?.get() as f64;
    let fair = (cores / (setting.bench.threads + loops) as f64).min(1.0);
    let kept = |idle: f64, busy: f64| idle / busy / fair;
    let (ours, theirs) = (kept(quiet.rust_s, company.rust_s), kept(quiet.python_s, company.python_s));
    say(&format!(
        "  a fair share of the cores is {fair:.2}; of idle rate times that: rust {ours:.2}, python {theirs:.2}"
    ));
    let value = json!({ "loops": loops, "idle": idle, "busy": busy, "fair_share": fair,
        "part_of_fair_share": { "rust": ours, "python": theirs } });
    let what = format!("beside {loops} busy loops at least {LEAST_PART} of the fair share: {ours:.2}");
    Ok(Some((value, vec![Bar { what, met: ours >= LEAST_PART }])))
}

/// Measures rounds of both sides.
fn measure(setting: &Setting<'_>, how: &str) -> Result<Pairs> {
    let mut pairs = Pairs::default();
    let rust = || step(setting, setting.bench.program("bench-step"), DROPOUT);
    let python = || step(setting, setting.script("train_step.py"), DROPOUT);
    interleaved(setting.args.rounds, rust, python, |round, rust, python| {
        let (ours, theirs) = (median(&rust.seconds_per_step), median(&python.seconds_per_step));
        pairs.push(ours, theirs);
        note(&format!("{how}, round {}: rust {ours:.3} s, python {theirs:.3} s a step", round + 1));
    })?;
    Ok(pairs)
}

/// Runs `work` while so many threads of this process spin.
fn beside<T>(loops: usize, work: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..loops {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    spin_loop();
                }
            });
        }
        let result = work();
        done.store(true, Ordering::Relaxed);
        result
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loops_end_with_the_work() {
        assert_eq!(beside(3, || 7), 7);
    }
}
