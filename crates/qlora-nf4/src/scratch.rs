//! Buffers for dequantised weights, each for as long as one product takes.

use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nn_core::{TorchContext, TorchFailure};
use tch::{Device, Kind, Tensor};

/// Bytes of dequantised weights in use.
static LIVE: AtomicUsize = AtomicUsize::new(0);
/// The most ever in use since the start or `reset_dequantized_peak`.
static PEAK: AtomicUsize = AtomicUsize::new(0);
/// Buffers of the CPU that wait to be used again. On a GPU libtorch's allocator keeps them, which knows the stream that each belongs
/// to: one that a step under way still reads is not given to another stream.
static IDLE: Mutex<Vec<Tensor>> = Mutex::new(Vec::new());
/// Buffers kept waiting, of all kinds together.
const MAX_IDLE: usize = 4;

fn idle() -> MutexGuard<'static, Vec<Tensor>> {
    IDLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes of dequantised weights that products hold now, and the most they ever held at the same time.
#[cfg(feature = "testing")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DequantizedBytes {
    /// Now.
    pub live: usize,
    /// At most, since the start or [`reset_dequantized_peak`].
    pub peak: usize,
}

/// Returns what the products of this process hold in dequantised weights.
#[cfg(feature = "testing")]
pub fn dequantized_bytes() -> DequantizedBytes {
    DequantizedBytes { live: LIVE.load(Ordering::Relaxed), peak: PEAK.load(Ordering::Relaxed) }
}

/// Starts a new peak.
#[cfg(feature = "testing")]
pub fn reset_dequantized_peak() {
    PEAK.store(LIVE.load(Ordering::Relaxed), Ordering::Relaxed);
}

/// A flat buffer that goes back to the others when it is dropped.
#[derive(Debug)]
pub(crate) struct Scratch {
    /// `None` only while it is dropped.
    whole: Option<Tensor>,
    used: Tensor,
    bytes: usize,
}

impl Scratch {
    /// Takes a buffer of `shape` with anything in it.
    pub(crate) fn take(shape: &[i64], kind: Kind, device: Device) -> Result<Self, TorchFailure> {
        let len: i64 = shape.iter().product();
        let fitting = if device == Device::Cpu {
            let mut idle = idle();
            let found = idle.iter().position(|one| one.kind() == kind && one.numel() as i64 >= len);
            found.map(|index| idle.swap_remove(index))
        } else {
            None
        };
        let whole = match fitting {
            Some(buffer) => buffer,
            None => Tensor::f_empty([len], (kind, device)).op("empty")?,
        };
        let used = whole.f_narrow(0, 0, len).op("narrow")?.f_view(shape).op("view")?;
        let bytes = len as usize * kind.elt_size_in_bytes();
        let live = LIVE.fetch_add(bytes, Ordering::Relaxed) + bytes;
        PEAK.fetch_max(live, Ordering::Relaxed);
        Ok(Self { whole: Some(whole), used, bytes })
    }

    /// Returns the buffer, to be written to.
    pub(crate) fn tensor(&mut self) -> &mut Tensor {
        &mut self.used
    }
}

impl Deref for Scratch {
    type Target = Tensor;

    fn deref(&self) -> &Tensor {
        &self.used
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        LIVE.fetch_sub(self.bytes, Ordering::Relaxed);
        if let Some(whole) = self.whole.take()
            && whole.device() == Device::Cpu
        {
            let mut idle = idle();
            idle.push(whole);
            if idle.len() > MAX_IDLE {
                // The smallest goes: a large one serves small uses too.
                let bytes = |one: &Tensor| one.numel() * one.kind().elt_size_in_bytes();
                let smallest = (0..idle.len()).min_by_key(|&index| bytes(&idle[index])).unwrap_or(0);
                drop(idle.swap_remove(smallest));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_buffer_is_reused() {
        let kind = Kind::Double; // which no other test takes
        let first = Scratch::take(&[3, 5], kind, Device::Cpu).unwrap();
        let address = first.data_ptr();
        drop(first);
        let second = Scratch::take(&[2, 4], kind, Device::Cpu).unwrap();
        assert_eq!((second.data_ptr(), second.size()), (address, vec![2, 4]));
    }
}
