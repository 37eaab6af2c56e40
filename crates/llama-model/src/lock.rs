//! Layers that the backward pass uses too, on whichever thread that is.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a layer. A panic leaves it as it was, since a forward pass does not change it.
pub(crate) fn lock<T>(layer: &Mutex<T>) -> MutexGuard<'_, T> {
    layer.lock().unwrap_or_else(PoisonError::into_inner)
}
