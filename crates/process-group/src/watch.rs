//! Noticing that another process has failed or is gone.
//!
//! Each process counts its seconds in the store, on a thread that does nothing else. Rank 0 watches all, and all watch rank 0. A
//! process that fails says so itself; one whose count stands still is gone.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::GroupError;
use crate::keys::{Failure, Keys};
use crate::roll_call::Member;

/// Time between two counts.
const BEAT: Duration = Duration::from_millis(500);

/// Silence after which a process is taken for dead: enough for a machine under load, and little enough that all end within 30 s.
const SILENCE: Duration = Duration::from_secs(20);

/// Silence after which a process is taken for dead where a connection has broken.
const SILENCE_AFTER_BREAK: Duration = Duration::from_secs(4);

/// Time between two counts that says that this process was suspended.
const SUSPENDED: Duration = Duration::from_secs(5);

/// The thread that counts and watches.
#[derive(Debug)]
pub(crate) struct Watch {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    rank: usize,
    members: Vec<Member>,
    /// Rank 0 keeps the keys, and not a launcher.
    keys_of_first: bool,
    failure: OnceLock<Failure>,
    ended: AtomicBool,
}

impl Watch {
    /// Starts counting and watching.
    pub(crate) fn start(
        keys: Keys,
        rank: usize,
        members: Vec<Member>,
        keys_of_first: bool,
    ) -> Result<Self, GroupError> {
        let (failure, ended) = (OnceLock::new(), AtomicBool::new(false));
        let shared = Arc::new(Shared { rank, members, keys_of_first, failure, ended });
        let watching = Arc::clone(&shared);
        let thread = thread::Builder::new().name("watch".into()).spawn(move || watching.watch(&keys));
        Ok(Self { shared, thread: Some(thread.map_err(GroupError::Thread)?) })
    }

    /// Returns the first failure of another process that this one has noticed.
    pub(crate) fn noticed(&self) -> Option<Failure> {
        self.shared.failure.get().cloned()
    }

    /// Fails where another process has failed or is gone.
    pub(crate) fn check(&self) -> Result<(), GroupError> {
        self.noticed().map_or(Ok(()), |failure| Err(failure.into()))
    }

    /// Finds who it was after a connection has broken with `reason`.
    pub(crate) fn find_lost(&self, keys: &Keys, reason: &str) -> GroupError {
        let Shared { rank, members, .. } = &*self.shared;
        let others = || (0..members.len()).filter(|other| other != rank);
        let counts = || others().map(|other| keys.find(&beat(other))).collect::<Result<Vec<_>, _>>();
        let (before, begun) = (counts(), Instant::now());
        while begun.elapsed() < SILENCE_AFTER_BREAK {
            if let Err(error) = self.check() {
                return error;
            }
            thread::sleep(BEAT / 4);
        }
        let (Ok(before), Ok(after)) = (before, counts()) else {
            return self.shared.store_lost().into();
        };
        let lost = others().zip(before.iter().zip(&after)).find(|(_, (before, after))| before == after);
        let named =
            lost.map(|(other, _)| keys.fail(other, *rank, &self.shared.silent(other)).map(GroupError::from));
        match named {
            Some(Ok(error)) => error,
            Some(Err(_)) => self.shared.store_lost().into(),
            None => GroupError::Left { rank: None, message: format!("a process has left: {reason}") },
        }
    }

    /// Ends the thread.
    pub(crate) fn end(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn watch(&self, keys: &Keys) {
        let watched: Vec<usize> = if self.rank == 0 { (1..self.members.len()).collect() } else { vec![0] };
        let mut seen = vec![(None, Instant::now()); watched.len()];
        let (mut count, mut looked) = (0_u64, Instant::now());
        while !self.ended.load(Ordering::Relaxed) {
            count += 1;
            if looked.elapsed() > SUSPENDED {
                // This process was suspended, as by Ctrl-Z or Slurm, and the others probably with it.
                for (_, since) in &mut seen {
                    *since = Instant::now();
                }
            }
            looked = Instant::now();
            match self.look(keys, count, &watched, &mut seen) {
                Ok(None) => thread::park_timeout(BEAT),
                Ok(Some(failure)) => {
                    let _ = self.failure.set(failure);
                    let _ = keys.add("noticed", 1);
                    return;
                }
                Err(_) => {
                    let _ = self.failure.set(self.store_lost());
                    return;
                }
            }
        }
    }

    /// Counts, and looks at the others: their counts and when they were new.
    fn look(
        &self,
        keys: &Keys,
        count: u64,
        watched: &[usize],
        seen: &mut [(Option<String>, Instant)],
    ) -> Result<Option<Failure>, GroupError> {
        keys.set(&beat(self.rank), &count.to_string())?;
        for (&other, (last, since)) in watched.iter().zip(seen) {
            let now = keys.find(&beat(other))?;
            if now != *last {
                (*last, *since) = (now, Instant::now());
            } else if since.elapsed() > SILENCE {
                return keys.fail(other, self.rank, &self.silent(other)).map(Some);
            }
        }
        keys.failure()
    }

    fn silent(&self, rank: usize) -> String {
        format!("rank {rank} on {} has ended without a word", self.members[rank].host)
    }

    fn store_lost(&self) -> Failure {
        if self.keys_of_first {
            Failure { rank: Some(0), told: false, message: self.silent(0) }
        } else {
            Failure { rank: None, told: false, message: "the launcher of the processes has ended".to_owned() }
        }
    }
}

fn beat(rank: usize) -> String {
    format!("beat/{rank}")
}
