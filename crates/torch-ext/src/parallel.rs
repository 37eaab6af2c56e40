//! Loops on libtorch's threads.

use std::ffi::{c_int, c_void};
use std::ops::Range;

unsafe extern "C" {
    fn torch_ext_parallel(tasks: i64, run: extern "C" fn(*mut c_void, i64, i64), user: *mut c_void) -> c_int;
}

extern "C" fn run<F: Fn(Range<usize>) + Sync>(user: *mut c_void, begin: i64, end: i64) {
    // SAFETY: `user` is the closure that `parallel` borrows for the whole call.
    let body = unsafe { &*user.cast::<F>() };
    body(begin as usize..end as usize);
}

/// Calls `body` for ranges that together are `0..tasks`, at the same time on as many threads as
/// `tch::get_num_threads()` says.
///
/// These are the threads that libtorch's own operations run on. A second pool would compete with them: they spin for a
/// while after each operation before they sleep, and a decoding step is hundreds of short operations.
///
/// A panic of `body` ends the process.
pub fn parallel<F: Fn(Range<usize>) + Sync>(tasks: usize, body: F) {
    if tasks == 0 {
        return;
    }
    let user = (&raw const body).cast_mut().cast::<c_void>();
    // SAFETY: `body` outlives the call and is shared between threads, which its bound allows.
    let done = tasks > 1 && unsafe { torch_ext_parallel(tasks as i64, run::<F>, user) } == 1;
    if !done {
        body(0..tasks);
    }
}

#[cfg(test)]
mod tests {
    use super::parallel;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn every_task_is_done_once() {
        for tasks in [0, 1, 2, 7, 1000] {
            let counts: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
            parallel(tasks, |range| {
                for index in range {
                    counts[index].fetch_add(1, Ordering::Relaxed);
                }
            });
            assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1), "{tasks}");
        }
    }
}
