//! Loops on libtorch's threads.

use std::ffi::c_void;
use std::sync::atomic::{AtomicUsize, Ordering};

unsafe extern "C" {
    fn torch_ext_on_all_threads(body: unsafe extern "C" fn(*mut c_void), data: *mut c_void);
}

struct Loop<'a, F> {
    tasks: usize,
    next: AtomicUsize,
    body: &'a F,
}

/// Calls `body(i)` for every `i` of `0..tasks`, on as many threads as `tch::get_num_threads` says; a thread that is done
/// takes the next `i`. Returns when all are done.
///
/// The threads are libtorch's own, so that kernels of ours and of libtorch take turns on them. A panic in `body` ends
/// the process, since it cannot pass through C++.
pub fn parallel_for<F: Fn(usize) + Sync>(tasks: usize, body: F) {
    unsafe extern "C" fn work<F: Fn(usize) + Sync>(data: *mut c_void) {
        // SAFETY: `data` is the `Loop` below, which outlives the call and is only shared.
        let shared = unsafe { &*data.cast::<Loop<'_, F>>() };
        loop {
            let index = shared.next.fetch_add(1, Ordering::Relaxed);
            if index >= shared.tasks {
                return;
            }
            (shared.body)(index);
        }
    }
    let shared = Loop { tasks, next: AtomicUsize::new(0), body: &body };
    if tasks > 1 {
        // SAFETY: every thread has returned from `work` when this returns.
        unsafe { torch_ext_on_all_threads(work::<F>, (&raw const shared).cast_mut().cast()) };
    } else if tasks == 1 {
        body(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_index_comes_once() {
        for tasks in [0, 1, 2, 1000] {
            let seen: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
            parallel_for(tasks, |index| {
                seen[index].fetch_add(1, Ordering::Relaxed);
            });
            assert!(seen.iter().all(|count| count.load(Ordering::Relaxed) == 1), "{tasks} tasks");
        }
    }
}
