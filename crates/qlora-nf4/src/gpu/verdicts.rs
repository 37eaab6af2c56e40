//! Which kernels have proved themselves.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use torch_ext::ExtError;

use super::error::KernelError;

/// A device and a kernel.
pub(super) type Place = (usize, &'static str);

/// What is known of the kernels of this process.
#[derive(Debug, Default)]
pub(super) struct Verdicts(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    usable: HashMap<Place, bool>,
    /// There is no compiler or no driver: no kernel is tried any more.
    none: bool,
}

impl Verdicts {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a kernel may be used. The first to ask has it proved, while others wait.
    pub(super) fn usable(&self, place: Place, prove: impl FnOnce() -> Result<(), KernelError>) -> bool {
        let mut known = self.known();
        if known.none {
            return false;
        }
        if let Some(&usable) = known.usable.get(&place) {
            return usable;
        }
        match prove() {
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

    /// Has a kernel not used again.
    pub(super) fn give_up(&self, place: Place, error: &KernelError) {
        self.known().refuse(place, error);
    }
}

impl Known {
    /// The one line that is said.
    fn refuse(&mut self, (index, kernel): Place, error: &KernelError) {
        self.usable.insert((index, kernel), false);
        if matches!(error, KernelError::Launch(ExtError::Library { .. })) {
            self.none = true;
            tracing::warn!("quantised weights go through plain tensor operations, which are slower: {error}");
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
    fn a_kernel_is_proved_once_and_stays_refused() {
        let verdicts = Verdicts::default();
        assert!(verdicts.usable((0, "a"), || Ok(())));
        assert!(verdicts.usable((0, "a"), || panic!("a second proof")));
        assert!(!verdicts.usable((1, "a"), || Err(OFF)));
        assert!(!verdicts.usable((1, "a"), || panic!("a second proof")));
        assert!(verdicts.usable((0, "a"), || panic!("a second proof")));
        verdicts.give_up((0, "a"), &OFF);
        assert!(!verdicts.usable((0, "a"), || panic!("a second proof")));
    }

    #[test]
    fn without_a_compiler_no_other_kernel_is_tried() {
        let verdicts = Verdicts::default();
        let absent = || ExtError::Library { library: "NVRTC", reason: "no such file".to_owned() };
        assert!(!verdicts.usable((0, "a"), || Err(absent().into())));
        assert!(!verdicts.usable((0, "b"), || panic!("tried")));
    }
}
