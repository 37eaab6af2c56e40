//! Processes that compute as one.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use tch::{Device, Tensor};
use torch_ext::distributed::Store;

use crate::GroupError;
use crate::engine::{Engine, Work};
use crate::keys::{Failure, Keys};
use crate::launch::Launch;
use crate::roll_call::{LOOK, Member, roll_call, threads};
use crate::watch::Watch;

/// Time that processes wait for each other at the beginning.
const PATIENCE: Duration = Duration::from_secs(300);

/// A collective that is under way this long is looked at again, and the other processes with it.
const GLANCE: Duration = Duration::from_millis(200);

/// Time that the first process has to tell of a failure before the others do.
const PRECEDENCE: Duration = Duration::from_millis(1500);

/// Time that the process that keeps the keys stays for the others to read them.
const LINGER: Duration = Duration::from_secs(5);

/// The processes that train together, seen from one of them. All have to call the same methods in the same order.
/// Clones are the same group.
#[derive(Debug, Clone)]
pub struct ProcessGroup(Option<Rc<Joined>>);

#[derive(Debug)]
struct Joined {
    launch: Launch,
    device: Device,
    members: Vec<Member>,
    engine: RefCell<Option<Engine>>,
    /// Dropped before the keys.
    watch: RefCell<Watch>,
    keys: Keys,
    /// Number of the next agreement or barrier.
    meeting: Cell<u64>,
}

impl ProcessGroup {
    /// Returns the group of a process on its own.
    pub const fn alone() -> Self {
        Self(None)
    }

    /// Joins the other processes of `launch`, whose tensors are on `device` as this one's are. Without a launch, the group of a
    /// process on its own.
    ///
    /// # Errors
    /// [`GroupError::Meeting`] and [`GroupError::Missing`] when they do not find each other within five minutes,
    /// [`GroupError::Device`] for a device without collectives.
    pub fn join(launch: Option<Launch>, device: Device) -> Result<Self, GroupError> {
        let Some(launch) = launch else { return Ok(Self::alone()) };
        let Launch { rank, world_size, port, .. } = launch;
        let serve = rank == 0 && !launch.launcher_listens;
        let store = Store::open(&launch.host, port, serve, PATIENCE)
            .map_err(|source| GroupError::Meeting { serve, host: launch.host.clone(), port, source })?;
        let keys = Keys::new(store, format!("finetune/{}", launch.attempt));
        let members = roll_call(&keys, (rank, world_size), device, PATIENCE)?;
        let watch = Watch::start(keys.connect_again()?, rank, members.clone(), !launch.launcher_listens)?;
        let engine = Engine::connect(&keys, &launch, &members, device, PATIENCE, &|| watch.check())?;
        Ok(Self(Some(Rc::new(Joined {
            launch,
            device,
            members,
            engine: RefCell::new(Some(engine)),
            watch: RefCell::new(watch),
            keys,
            meeting: Cell::new(0),
        }))))
    }

    /// Returns the number of this process, from 0.
    pub fn rank(&self) -> usize {
        self.0.as_ref().map_or(0, |joined| joined.launch.rank)
    }

    /// Returns the number of processes.
    pub fn world_size(&self) -> usize {
        self.0.as_ref().map_or(1, |joined| joined.launch.world_size)
    }

    /// Tells whether this is the process that writes and reports.
    pub fn is_first(&self) -> bool {
        self.rank() == 0
    }

    /// Returns the processors that are this process's share of those it may use.
    pub fn threads(&self) -> Option<usize> {
        let joined = self.0.as_ref()?;
        let processors = thread::available_parallelism().map_or(1, usize::from);
        Some(threads(&joined.members, joined.launch.rank, processors))
    }

    /// Sums a tensor on the group's device over all processes, in place: the same bytes in all of them, and each time for the
    /// same number of processes.
    ///
    /// # Errors
    /// [`GroupError::Left`] when another process has failed or is gone.
    pub fn all_reduce(&self, tensor: &mut Tensor) -> Result<(), GroupError> {
        let Some(joined) = &self.0 else { return Ok(()) };
        joined.finish(|engine| engine.all_reduce(tensor))
    }

    /// Copies the tensor of process `root`, on the group's device, into that of every other.
    ///
    /// # Errors
    /// Those of [`ProcessGroup::all_reduce`].
    pub fn broadcast(&self, tensor: &mut Tensor, root: usize) -> Result<(), GroupError> {
        let Some(joined) = &self.0 else { return Ok(()) };
        joined.finish(|engine| engine.broadcast(tensor, root))
    }

    /// Returns the device of the tensors that the group sums; `None` for a process on its own.
    pub fn device(&self) -> Option<Device> {
        self.0.as_ref().map(|joined| joined.device)
    }

    /// Waits until every process is here.
    ///
    /// # Errors
    /// Those of [`ProcessGroup::all_reduce`].
    pub fn barrier(&self) -> Result<(), GroupError> {
        let Some(joined) = &self.0 else { return Ok(()) };
        let key = joined.next_meeting();
        joined.keys.add(&key, 1)?;
        joined.wait_until(|| Ok(joined.keys.add(&key, 0)? == joined.launch.world_size as u64))
    }

    /// Checks that `value`, named `what`, is the same in every process.
    ///
    /// # Errors
    /// [`GroupError::Differs`] in every process where it is not; and those of [`ProcessGroup::all_reduce`].
    pub fn agree(&self, what: &str, value: &str, advice: &'static str) -> Result<(), GroupError> {
        let Some(joined) = &self.0 else { return Ok(()) };
        let key = joined.next_meeting();
        let of = |rank: usize| format!("{key}/{rank}");
        joined.keys.set(&of(joined.launch.rank), value)?;
        let mut first = String::new();
        let mut differs = None;
        for rank in 0..joined.launch.world_size {
            joined.wait_until(|| joined.keys.is_set(&of(rank)))?;
            let value = joined.keys.find(&of(rank))?.unwrap_or_default();
            if rank == 0 {
                first = value;
            } else if value != first && differs.is_none() {
                differs = Some((rank, value));
            }
        }
        let Some((rank, actual)) = differs else { return Ok(()) };
        Err(GroupError::Differs { rank, what: what.to_owned(), actual, expected: first, advice })
    }

    /// Calls `work` in one process of each machine, and then in the others: for what is fetched once and found afterwards.
    ///
    /// # Errors
    /// Those of `work`, and those of [`ProcessGroup::all_reduce`].
    pub fn one_of_each_machine_first<T, E: From<GroupError>>(
        &self,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let is_first = self.0.as_ref().is_none_or(|joined| joined.launch.local_rank == 0);
        if is_first {
            let result = work()?;
            self.barrier()?;
            return Ok(result);
        }
        self.barrier()?;
        work()
    }

    /// Leaves the group when the work is done: waits until all have done it.
    ///
    /// # Errors
    /// [`GroupError::Left`] when another process has failed at its end.
    pub fn leave(&self) -> Result<(), GroupError> {
        self.barrier()?;
        let Some(joined) = &self.0 else { return Ok(()) };
        joined.watch.borrow_mut().end();
        let others = joined.launch.world_size as u64 - 1;
        if joined.serves() {
            joined.linger("gone", others);
        } else {
            joined.keys.add("gone", 1)?;
        }
        Ok(())
    }

    /// Tells the others that this process has failed. Returns whether it is the one to report it: of a failure that several share, or
    /// that one has told already, one report is enough.
    pub fn fail(&self, message: &str) -> bool {
        let Some(joined) = &self.0 else { return true };
        joined.give_up();
        let Launch { rank, world_size, .. } = joined.launch;
        let host = &joined.members[rank].host;
        if rank > 0 {
            // What all have met is told by the first.
            joined.wait_for_failure(PRECEDENCE);
        }
        let told = joined.keys.fail(rank, rank, &format!("rank {rank} on {host} has failed: {message}"));
        if joined.serves() {
            joined.linger("noticed", world_size as u64);
        }
        let first = told.ok().or_else(|| joined.watch.borrow().noticed());
        // Of one that is gone without a word, the first that is left tells.
        let speaker = |gone: Option<usize>| usize::from(gone == Some(0));
        match first {
            Some(Failure { rank: of, told: true, message: known }) => {
                of == Some(rank) || !known.ends_with(message)
            }
            Some(Failure { rank: of, .. }) => rank == speaker(of),
            None => true,
        }
    }
}

impl Joined {
    fn serves(&self) -> bool {
        self.launch.rank == 0 && !self.launch.launcher_listens
    }

    fn next_meeting(&self) -> String {
        let number = self.meeting.replace(self.meeting.get() + 1);
        format!("meeting/{number}")
    }

    /// Waits until `done`, or another process fails.
    fn wait_until(&self, done: impl Fn() -> Result<bool, GroupError>) -> Result<(), GroupError> {
        while !done().or_else(|_| self.watch.borrow().check().map(|()| false))? {
            self.check()?;
            thread::sleep(LOOK);
        }
        Ok(())
    }

    fn check(&self) -> Result<(), GroupError> {
        self.watch.borrow().check()
    }

    /// Waits for a collective.
    fn finish(
        &self,
        start: impl for<'e> FnOnce(&'e Engine) -> Result<Work<'e>, GroupError>,
    ) -> Result<(), GroupError> {
        let result = match &*self.engine.borrow() {
            Some(engine) => start(engine).and_then(|work| self.wait(work)),
            None => Err(GroupError::Over),
        };
        result.inspect_err(|_| self.give_up())
    }

    fn wait(&self, work: Work<'_>) -> Result<(), GroupError> {
        loop {
            match work.wait(GLANCE) {
                Ok(true) => return Ok(()),
                Ok(false) => {
                    if let Err(error) = self.check() {
                        // What is under way has the tensor still.
                        std::mem::forget(work);
                        return Err(error);
                    }
                }
                Err(error) => return Err(self.watch.borrow().find_lost(&self.keys, &error.to_string())),
            }
        }
    }

    /// Ends the collectives, which have no end of their own when another process is gone.
    fn give_up(&self) {
        if let Some(engine) = self.engine.take() {
            engine.abort();
        }
    }

    /// Waits up to `time` for the failure of another process.
    fn wait_for_failure(&self, time: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < time && self.watch.borrow().noticed().is_none() {
            thread::sleep(LOOK);
        }
    }

    /// Stays until `count` others have added to `key`, for they cannot read the keys when this process is gone.
    fn linger(&self, key: &str, count: u64) {
        let begun = Instant::now();
        while begun.elapsed() < LINGER && self.keys.add(key, 0).is_ok_and(|now| now < count) {
            thread::sleep(LOOK);
        }
    }
}
