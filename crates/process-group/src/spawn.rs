//! Starting processes on one machine.

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use torch_ext::distributed::Store;

use crate::GroupError;

/// Time that the others have to end by themselves after the first failure: they notice it within this, and save nothing then.
const PATIENCE: Duration = Duration::from_secs(40);

/// Time between two looks at the processes.
const LOOK: Duration = Duration::from_millis(20);

/// The end of all processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Exit code of the first that failed, 128 and the signal's number where one was killed; 0 where none failed.
    pub code: u8,
    /// The first that failed.
    pub rank: Option<usize>,
}

/// Runs `count` processes on this machine, each the command that `command` makes for its rank, told apart by torchrun's variables,
/// and waits for their end. The first failure ends all: those that do not end by themselves are killed.
///
/// Each process is in a group of its own, so that a signal of the terminal comes to the caller alone; while `is_stop_requested`, all are
/// asked to end, once.
///
/// # Errors
/// [`GroupError::Start`] when a process cannot be started, [`GroupError::Meeting`] when no port is free.
pub fn run_processes(
    count: usize,
    command: &dyn Fn(usize) -> Command,
    is_stop_requested: &dyn Fn() -> bool,
) -> Result<Ended, GroupError> {
    let meeting = |source| GroupError::Meeting { serve: true, host: "127.0.0.1".to_owned(), port: 0, source };
    let store = Store::open("127.0.0.1", 0, true, PATIENCE).map_err(meeting)?;
    let port = store.port()?;
    let mut processes = Processes(Vec::new());
    for rank in 0..count {
        let started = start(command(rank), rank, count, port);
        let child = started.map_err(|source| GroupError::Start { rank, world_size: count, source })?;
        processes.0.push((child, None));
    }
    let mut first_failure: Option<(Instant, Ended)> = None;
    let mut is_asked = false;
    loop {
        for (rank, status) in processes.newly_ended() {
            if !status.success() && first_failure.is_none() {
                first_failure = Some((Instant::now(), Ended { code: code(status), rank: Some(rank) }));
            }
        }
        if processes.running().next().is_none() {
            return Ok(first_failure.map_or(Ended { code: 0, rank: None }, |(_, ended)| ended));
        }
        if !is_asked && is_stop_requested() {
            is_asked = true;
            processes.running().for_each(|child| send(child, Signal::TERM));
        }
        if first_failure.is_some_and(|(since, _)| since.elapsed() > PATIENCE) {
            processes.running().for_each(|child| send(child, Signal::KILL));
        }
        thread::sleep(LOOK);
    }
}

fn start(mut command: Command, rank: usize, count: usize, port: u16) -> io::Result<Child> {
    command
        .env("RANK", rank.to_string())
        .env("LOCAL_RANK", rank.to_string())
        .env("WORLD_SIZE", count.to_string())
        .env("LOCAL_WORLD_SIZE", count.to_string())
        .env("MASTER_ADDR", "127.0.0.1")
        .env("MASTER_PORT", port.to_string())
        .env("TORCHELASTIC_USE_AGENT_STORE", "True")
        .env("TORCHELASTIC_RESTART_COUNT", "0")
        .process_group(0)
        .spawn()
}

/// Processes and, of those that have ended, how.
struct Processes(Vec<(Child, Option<ExitStatus>)>);

impl Processes {
    fn running(&self) -> impl Iterator<Item = &Child> {
        self.0.iter().filter(|(_, status)| status.is_none()).map(|(child, _)| child)
    }

    /// Returns those that have ended since the last call.
    fn newly_ended(&mut self) -> Vec<(usize, ExitStatus)> {
        let mut ended = Vec::new();
        for (rank, (child, status)) in self.0.iter_mut().enumerate() {
            if status.is_none()
                && let Ok(Some(now)) = child.try_wait()
            {
                *status = Some(now);
                ended.push((rank, now));
            }
        }
        ended
    }
}

impl Drop for Processes {
    /// Leaves none behind.
    fn drop(&mut self) {
        for (child, status) in &mut self.0 {
            if status.is_none() {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

fn send(child: &Child, signal: Signal) {
    if let Some(pid) = Pid::from_raw(child.id() as i32) {
        // One that has just ended needs no signal.
        let _ = kill_process(pid, signal);
    }
}

fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).unwrap_or(1).max(1)
}
