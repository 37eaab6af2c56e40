//! From what a pickle holds to named tensors.

use super::TorchFileError;
use super::heap::{Heap, Storage, Value};
use crate::limits::MAX_TENSORS;
use crate::placed::Placed;

/// Keys under which training scripts put the weights beside other things.
const WRAPPERS: [&str; 2] = ["state_dict", "model"];
/// Most wrappers around one another.
const MAX_WRAPPERS: usize = 4;

/// Memory a storage lies in: first byte in the file, and size in bytes.
pub(super) type Memory = (usize, usize);

/// Collects the tensors of the dictionary `root`, by name; `locate` finds a storage in the file. Values that are no
/// tensors are passed over; a dictionary without tensors is searched for one under `state_dict` or `model`.
pub(super) fn tensors<'a>(
    heap: &Heap<'a>,
    mut root: Value<'a>,
    mut locate: impl FnMut(Storage<'a>) -> Result<Memory, TorchFileError>,
) -> Result<Vec<(String, Placed)>, TorchFileError> {
    for _ in 0..MAX_WRAPPERS {
        let pairs = heap.pairs(root).ok_or(TorchFileError::NoTensors)?;
        let found = pairs.iter().filter_map(|pair| match *pair {
            (Value::Text(name), Value::Tensor(tensor)) => Some((name, tensor)),
            _ => None,
        });
        // One more is enough to be told that there are too many.
        let tensors = found
            .take(MAX_TENSORS + 1)
            .map(|(name, tensor)| Ok((name.to_owned(), place(heap, name, tensor, &mut locate)?)))
            .collect::<Result<Vec<_>, _>>()?;
        if !tensors.is_empty() {
            return Ok(tensors);
        }
        let wrapped = WRAPPERS.iter().find_map(|key| heap.get(root, key));
        root = wrapped.ok_or(TorchFileError::NoTensors)?;
    }
    Err(TorchFileError::NoTensors)
}

fn place<'a>(
    heap: &Heap<'a>,
    name: &str,
    tensor: usize,
    locate: &mut impl FnMut(Storage<'a>) -> Result<Memory, TorchFileError>,
) -> Result<Placed, TorchFileError> {
    let outside = || TorchFileError::OutsideStorage { name: name.to_owned() };
    let view = heap.tensors.get(tensor).ok_or_else(outside)?;
    let storage = *heap.storages.get(view.storage).ok_or_else(outside)?;
    let (start, actual) = locate(storage)?;
    let size = storage.kind.elt_size_in_bytes();
    let expected = storage.numel.saturating_mul(size as u64);
    if (actual as u64) < expected {
        let (key, actual) = (storage.key.to_owned(), actual as u64);
        return Err(TorchFileError::TruncatedStorage { key, expected, actual });
    }
    let first = storage.start.checked_add(view.offset).and_then(|first| usize::try_from(first).ok());
    let (shape, strides) = (view.shape.clone(), view.strides.clone());
    let placed =
        Placed::strided(start, expected as usize, first.ok_or_else(outside)?, shape, strides, storage.kind);
    placed.ok_or_else(outside)
}
