//! Kernels that have passed their check, and those that have not.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::KernelError;

/// A device and a kernel.
pub(crate) type Place = (usize, &'static str);

/// Results of the checks of this process.
#[derive(Debug, Default)]
pub(crate) struct KernelStatus(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    usable: HashMap<Place, bool>,
    /// There is no compiler or no driver: no kernel is tried any more.
    none: bool,
}

impl KernelStatus {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether a kernel may be used. The first to ask has it checked, while others wait.
    pub(crate) fn usable(&self, place: Place, check: impl FnOnce() -> Result<(), KernelError>) -> bool {
        let mut known = self.known();
        if known.none {
            return false;
        }
        if let Some(&usable) = known.usable.get(&place) {
            return usable;
        }
        match check() {
            Ok(()) => {
                known.usable.insert(place, true);
                true
            }
            Err(error) => {
                known.refuse(place, &error);
                false
            }
        }
    }

    /// Records that a kernel is not to be used again.
    pub(super) fn give_up(&self, place: Place, error: &KernelError) {
        self.known().refuse(place, error);
    }
}

impl Known {
    /// Logs it, once.
    fn refuse(&mut self, (index, kernel): Place, error: &KernelError) {
        self.usable.insert((index, kernel), false);
        if matches!(error, KernelError::Library { .. }) {
            self.none = true;
            tracing::warn!("tensor operations stand in for the kernels, which are faster: {error}");
        } else {
            tracing::warn!("cuda:{index}: tensor operations stand in for the kernel `{kernel}`: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFF: KernelError = KernelError::Off { kernel: "a", off: 1, of: 2 };

    #[test]
    fn a_kernel_is_checked_once_and_stays_refused() {
        let status = KernelStatus::default();
        assert!(status.usable((0, "a"), || Ok(())));
        assert!(status.usable((0, "a"), || panic!("a second check")));
        assert!(!status.usable((1, "a"), || Err(OFF)));
        assert!(!status.usable((1, "a"), || panic!("a second check")));
        assert!(status.usable((0, "a"), || panic!("a second check")));
        status.give_up((0, "a"), &OFF);
        assert!(!status.usable((0, "a"), || panic!("a second check")));
    }

    #[test]
    fn without_a_compiler_no_other_kernel_is_tried() {
        let status = KernelStatus::default();
        let absent = || KernelError::Library { library: "NVRTC", reason: "no such file".to_owned() };
        assert!(!status.usable((0, "a"), || Err(absent())));
        assert!(!status.usable((0, "b"), || panic!("tried")));
    }
}
