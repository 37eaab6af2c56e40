//! One thing that happens to a program: a signal, a limit, a failing call.

use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::dice::Dice;
use crate::preload::{CallFault, OF_FILES};
use crate::scene::{Ended, Scene, end, run};

/// Runs `command`, which undisturbed takes the time `whole` and makes about `calls` calls of each kind, and lets one thing happen
/// to it. Returns its name and the end.
pub(crate) fn disturb(
    scene: &Scene,
    mut command: Command,
    whole: Duration,
    calls: u64,
    dice: &mut Dice,
) -> Result<(String, Ended)> {
    match dice.below(10) {
        0..=2 => Ok(("SIGKILL".into(), signalled(&mut command, whole, dice, libc::SIGKILL, 1)?)),
        3 => Ok(("SIGTERM".into(), signalled(&mut command, whole, dice, libc::SIGTERM, 1)?)),
        4 => {
            let mut ended = signalled(&mut command, whole, dice, libc::SIGTERM, 2)?;
            // The second ends at once, without a word; before the program listens, the first does.
            ensure!(!ended.stderr.contains("error"), "a second SIGTERM: {}", ended.stderr);
            ended.code = ended.code.filter(|&code| code != 130);
            Ok(("SIGTERM twice".into(), ended))
        }
        5 => Ok(("ulimit -f".into(), run(&mut limited(scene, &command, dice.below(60)))?)),
        6 => {
            scene.preload.jump_clock(&mut command);
            Ok(("clock jumps, SIGKILL".into(), signalled(&mut command, whole, dice, libc::SIGKILL, 1)?))
        }
        _ => {
            let fault = CallFault::draw(OF_FILES, calls, dice);
            scene.preload.apply(&mut command, &fault);
            Ok((fault.kind(), run(&mut command)?))
        }
    }
}

/// Makes a command that runs `command` with files of at most `blocks` blocks of 512 bytes.
fn limited(scene: &Scene, command: &Command, blocks: u64) -> Command {
    let mut limited = Command::new("sh");
    limited.args(["-c", &format!("ulimit -f {blocks}; exec \"$@\""), "sh"]).arg(command.get_program());
    limited.args(command.get_args()).current_dir(scene.path("."));
    limited.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    limited.stdout(Stdio::null()).stderr(Stdio::piped());
    limited
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

/// Sends a signal to a child that is not waited for yet.
#[expect(unsafe_code, reason = "no safe way in the standard library")]
pub(crate) fn send(child: &Child, signal: libc::c_int) {
    // SAFETY: a system call without pointers; the child is not waited for yet, so its id is its own.
    unsafe { libc::kill(child.id() as libc::pid_t, signal) };
}
