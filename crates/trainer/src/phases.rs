//! Timing the phases of a step.

use std::ops::AddAssign;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use tch::{Cuda, Device};

/// Seconds of each part of training steps.
///
/// A GPU runs asynchronously: without [`crate::TrainConfig::time_phases`] its forward pass ends for the clock when it has been
/// launched, and the wait for both passes counts as backward.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Phases {
    /// Forward passes and losses.
    pub forward_s: f64,
    /// Backward passes, and reading the loss and the gradient's norm.
    pub backward_s: f64,
    /// Clipping and the update.
    pub optimizer_s: f64,
}

impl AddAssign for Phases {
    fn add_assign(&mut self, other: Self) {
        self.forward_s += other.forward_s;
        self.backward_s += other.backward_s;
        self.optimizer_s += other.optimizer_s;
    }
}

/// Waits until the GPUs among `devices` have done their work.
pub(crate) fn wait_for(devices: &[Device]) {
    for device in devices {
        if let Device::Cuda(index) = device {
            Cuda::synchronize(*index as i64);
        }
    }
}

/// A clock that is read between phases.
#[derive(Debug)]
pub(crate) struct Stopwatch {
    /// Devices that are waited for at each reading.
    devices: Vec<Device>,
    last: Instant,
}

impl Stopwatch {
    /// Starts the clock. With `exact`, `devices` are waited for at each reading.
    pub(crate) fn start(devices: Vec<Device>, exact: bool) -> Self {
        Self { devices: if exact { devices } else { Vec::new() }, last: Instant::now() }
    }

    /// Returns the seconds since the last reading.
    pub(crate) fn lap(&mut self) -> f64 {
        wait_for(&self.devices);
        let now = Instant::now();
        (now - std::mem::replace(&mut self.last, now)).as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn laps_add_up_to_the_time_between_start_and_end() {
        let begun = Instant::now();
        let mut watch = Stopwatch::start(vec![Device::Cpu], true);
        let laps: f64 = (0..3).map(|_| watch.lap()).sum();
        assert!(laps >= 0.0 && laps <= begun.elapsed().as_secs_f64());
        let mut sum = Phases { forward_s: 1.0, ..Phases::default() };
        sum += Phases { forward_s: 2.0, backward_s: 3.0, optimizer_s: 4.0 };
        assert_eq!(sum, Phases { forward_s: 3.0, backward_s: 3.0, optimizer_s: 4.0 });
    }
}
