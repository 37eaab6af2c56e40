//! Kills and failing calls during training.

use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::dice::Dice;
use crate::preload::CallFault;
use crate::report::Report;
use crate::scene::{Ended, Results, Scene, end, run};

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
        let mut kind = String::new();
        let outcome =
            disturbed(scene, &out, whole, &mut dice, &mut kind).and_then(|()| resume(scene, &out, &expected));
        report.add("finetune", &kind, outcome.with_context(|| format!("round {round} of seed {seed}")));
        let _ = std::fs::remove_dir_all(scene.path(&out));
    }
    Ok(expected)
}

/// Starts a run and lets one thing happen to it, now and then two or three times over.
fn disturbed(scene: &Scene, out: &str, whole: Duration, dice: &mut Dice, kind: &mut String) -> Result<()> {
    for time in 0..=dice.below(3) {
        let (name, ended) = disturb(scene, out, whole, dice)?;
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

fn disturb(scene: &Scene, out: &str, whole: Duration, dice: &mut Dice) -> Result<(String, Ended)> {
    let mut command = scene.finetune(out);
    match dice.below(10) {
        0..=2 => Ok(("SIGKILL".into(), signalled(&mut command, whole, dice, libc::SIGKILL, 1)?)),
        3 => Ok(("SIGTERM".into(), signalled(&mut command, whole, dice, libc::SIGTERM, 1)?)),
        4 => {
            let mut ended = signalled(&mut command, whole, dice, libc::SIGTERM, 2)?;
            // The second ends at once, without a word; before the training listens, the first does.
            ensure!(!ended.stderr.contains("error"), "a second SIGTERM: {}", ended.stderr);
            ended.code = ended.code.filter(|&code| code != 130);
            Ok(("SIGTERM twice".into(), ended))
        }
        5 => {
            let blocks = dice.below(60).to_string();
            let mut limited = Command::new("sh");
            limited
                .args(["-c", &format!("ulimit -f {blocks}; exec \"$@\""), "sh"])
                .arg(command.get_program());
            limited.args(command.get_args()).current_dir(scene.path("."));
            limited.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
            limited.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
            Ok(("ulimit -f".into(), run(&mut limited)?))
        }
        6 => {
            scene.preload.jump_clock(&mut command);
            Ok(("clock jumps, SIGKILL".into(), signalled(&mut command, whole, dice, libc::SIGKILL, 1)?))
        }
        _ => {
            let fault = CallFault::new(dice.below(1000) as usize, 1 + dice.below(60));
            scene.preload.apply(&mut command, &fault);
            Ok((fault.kind(), run(&mut command)?))
        }
    }
}

/// Sends a signal at a random moment, `times` times.
fn signalled(
    command: &mut Command,
    whole: Duration,
    dice: &mut Dice,
    signal: libc::c_int,
    times: u32,
) -> Result<Ended> {
    let child = command.spawn()?;
    sleep(whole.mul_f64(dice.below(1000) as f64 / 1000.0));
    for _ in 0..times {
        send(&child, signal);
        sleep(Duration::from_millis(dice.below(30)));
    }
    end(child)
}

#[expect(unsafe_code, reason = "no safe way in the standard library")]
fn send(child: &Child, signal: libc::c_int) {
    // SAFETY: a system call without pointers; the child is not waited for yet, so its id is its own.
    unsafe { libc::kill(child.id() as libc::pid_t, signal) };
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
