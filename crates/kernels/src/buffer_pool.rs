//! New tensors in the memory of a dropped one.

use std::sync::{Arc, Mutex, PoisonError};

use tch::{Device, Kind, TchError, Tensor};
use torch_ext::tensor_over;

use crate::memory::Bytes;

/// Below this, memory comes from the allocator's own store and costs next to nothing.
const LEAST_BYTES: usize = 1 << 20;

/// The last one dropped. New memory of this size comes from the system page by page, which takes ten times as long as
/// dequantising into it.
static IDLE: Mutex<Option<Tensor>> = Mutex::new(None);

/// Memory under a tensor; it waits for the next one when that is gone.
struct Memory(Option<Bytes>);

impl AsRef<[u8]> for Memory {
    fn as_ref(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], Bytes::as_ref)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        *IDLE.lock().unwrap_or_else(PoisonError::into_inner) = self.0.take().map(|bytes| bytes.0);
    }
}

/// Makes a CPU tensor with anything in it. One dropped tensor's memory is kept for the next of about its size.
pub(crate) fn empty(shape: &[i64], kind: Kind) -> Result<Tensor, TchError> {
    let bytes = shape.iter().product::<i64>() as usize * kind.elt_size_in_bytes();
    if bytes < LEAST_BYTES {
        return Tensor::f_empty(shape, (kind, Device::Cpu));
    }
    let idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner).take();
    let memory = match idle.filter(|idle| (bytes..=2 * bytes).contains(&idle.numel())) {
        Some(memory) => memory,
        None => Tensor::f_empty([bytes as i64], (Kind::Uint8, Device::Cpu))?,
    };
    tensor_over(Arc::new(Memory(Some(Bytes(memory)))), 0, shape, kind)
        .map_err(|error| TchError::Torch(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_reused_only_when_its_tensor_and_all_views_are_gone() {
        let first = empty(&[1 << 10, 1 << 9], Kind::Float).unwrap();
        let (address, view) = (first.data_ptr(), first.narrow(0, 0, 1));
        drop(first);
        let second = empty(&[1 << 10, 1 << 9], Kind::Float).unwrap();
        assert_ne!(second.data_ptr(), address);
        drop(view);
        let third = empty(&[1 << 9, 1 << 10], Kind::Float).unwrap();
        assert_eq!((third.data_ptr(), third.size()), (address, vec![1 << 9, 1 << 10]));
    }
}
