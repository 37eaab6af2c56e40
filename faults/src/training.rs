//! Kills and failing calls during training.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::dice::Dice;
use crate::disturb::disturb;
use crate::report::Report;
use crate::scene::{Results, Scene, run};

/// Calls of each kind in a run, about.
const CALLS: u64 = 60;

/// Kills or disturbs `rounds` runs at random moments and resumes each to its end.
///
/// Laws: the resumed run goes on from the newest checkpoint, so nothing is lost but the work since; whatever stands under
/// the name of a checkpoint is whole; the end is that of an undisturbed run, byte for byte; a program that ends says why.
pub(crate) fn run_all(scene: &Scene, rounds: u64, seed: u64, report: &mut Report) -> Result<Results> {
    let begun = Instant::now();
    run(&mut scene.finetune("whole"))?.ok()?;
    let whole = begun.elapsed();
    let expected = scene.results("whole")?;
    let mut dice = Dice::new(seed);
    for round in 0..rounds {
        let out = format!("round{round}");
        report.round("finetune", (round, seed), |kind| {
            disturbed(scene, &out, whole, &mut dice, kind)?;
            resume(scene, &out, &expected)
        });
        let _ = std::fs::remove_dir_all(scene.path(&out));
    }
    Ok(expected)
}

/// Starts a run and lets one thing happen to it, now and then two or three times over.
fn disturbed(scene: &Scene, out: &str, whole: Duration, dice: &mut Dice, kind: &mut String) -> Result<()> {
    for time in 0..=dice.below(3) {
        let (name, ended) = disturb(scene, scene.finetune(out), whole, CALLS, dice)?;
        if time == 0 {
            *kind = name;
        }
        ended.says_so()?;
        scene.last_step(out)?;
        if ended.code == Some(0) && !ended.stderr.contains("stopped after step") {
            break;
        }
    }
    Ok(())
}

/// Resumes a run to its end.
fn resume(scene: &Scene, out: &str, expected: &Results) -> Result<()> {
    let last = scene.last_step(out)?;
    let ended = run(&mut scene.finetune(out))?.ok()?;
    if let Some(first) = ended.first_step() {
        ensure!(first == last + 1, "the newest checkpoint is of step {last}, but step {first} came next");
    }
    ensure!(scene.results(out)? == *expected, "another end than that of an undisturbed run");
    Ok(())
}
