//! Loops on libtorch's threads.

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};

unsafe extern "C" {
    fn torch_ext_parallel(most: i64, run: extern "C" fn(*mut c_void), user: *mut c_void) -> c_int;
}

/// Consecutive tasks, which one thread begins with; in a cache line of their own.
#[derive(Debug)]
#[repr(align(64))]
struct Share {
    next: AtomicUsize,
    end: usize,
}

/// Tasks of [`parallel`] that are left. Each is given out once: a thread takes those of its own share in order, as memory is read
/// fastest, and then what others have not come to.
#[derive(Debug)]
pub struct Tasks<'a> {
    shares: &'a [Share],
    own: usize,
    done: usize,
}

impl Iterator for Tasks<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        while self.done < self.shares.len() {
            let share = &self.shares[(self.own + self.done) % self.shares.len()];
            let task = share.next.fetch_add(1, Ordering::Relaxed);
            if task < share.end {
                return Some(task);
            }
            self.done += 1;
        }
        None
    }
}

/// A loop, the shares of its tasks, and the threads that have begun.
struct Loop<F> {
    body: F,
    shares: Vec<Share>,
    begun: AtomicUsize,
}

impl<F: Fn(Tasks<'_>) + Sync> Loop<F> {
    fn run(&self) {
        let own = self.begun.fetch_add(1, Ordering::Relaxed);
        (self.body)(Tasks { shares: &self.shares, own, done: 0 });
    }
}

extern "C" fn run<F: Fn(Tasks<'_>) + Sync>(user: *mut c_void) {
    // SAFETY: `user` is the loop that `parallel` borrows for the whole call.
    let shared = unsafe { &*user.cast_const().cast::<Loop<F>>() };
    shared.run();
}

/// Calls `body` at the same time on as many threads as `tch::get_num_threads()` says, which share the tasks `0..tasks`: a thread
/// that begins late, or is held up by another program, does fewer of them.
///
/// These are the threads that libtorch's own operations run on. A second pool would compete with them: they spin for a
/// while after each operation before they sleep, and a decoding step is hundreds of short operations.
///
/// A panic of `body` ends the process.
pub fn parallel<F: Fn(Tasks<'_>) + Sync>(tasks: usize, body: F) {
    if tasks == 0 {
        return;
    }
    let threads = usize::try_from(tch::get_num_threads()).unwrap_or(1).clamp(1, tasks);
    let first = |thread: usize| thread * tasks / threads;
    let share = |thread| Share { next: AtomicUsize::new(first(thread)), end: first(thread + 1) };
    let shared = Loop { body, shares: (0..threads).map(share).collect(), begun: AtomicUsize::new(0) };
    let user = (&raw const shared).cast_mut().cast::<c_void>();
    // SAFETY: the loop outlives the call and is shared between threads, which its bound allows.
    let done = threads > 1 && unsafe { torch_ext_parallel(threads as i64, run::<F>, user) } == 1;
    if !done {
        shared.run();
    }
}

#[cfg(test)]
mod tests {
    use super::parallel;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn every_task_is_done_once() {
        for tasks in [0, 1, 2, 7, 1000] {
            let counts: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
            parallel(tasks, |tasks| {
                for index in tasks {
                    counts[index].fetch_add(1, Ordering::Relaxed);
                }
            });
            assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1), "{tasks}");
        }
    }

    #[test]
    fn a_body_runs_once_on_each_of_libtorchs_threads_and_alone_inside_another() {
        tch::set_num_threads(2);
        let callers = Mutex::new(Vec::new());
        let note = || callers.lock().unwrap().push(std::thread::current().id());
        parallel(8, |_| note());
        let mut threads = std::mem::take(&mut *callers.lock().unwrap());
        threads.dedup();
        assert_eq!(threads.len(), 2);
        parallel(2, |tasks| tasks.for_each(|_| parallel(4, |_| note())));
        assert_eq!(callers.lock().unwrap().len(), 2);
    }
}
