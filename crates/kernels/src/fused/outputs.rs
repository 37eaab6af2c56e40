//! The conditions of a fused operation, and its result.

use tch::{Device, TchError, Tensor};

use crate::element::Element;
use crate::memory::elements_mut;

/// Up to so many tokens the calls are what takes the time; more are libtorch's, on all threads.
pub(super) const MOST_ROWS: i64 = 8;

/// Returns whether all of `tensors` are plain memory of a CPU, of one kind, and need no gradient.
pub(super) fn plain(tensors: &[&Tensor]) -> bool {
    let kind = tensors[0].kind();
    tensors.iter().all(|xs| {
        xs.device() == Device::Cpu && xs.kind() == kind && xs.is_contiguous() && !xs.requires_grad()
    })
}

/// Makes a new tensor like `xs`, whose numbers `write` puts in place.
pub(super) fn filled<T: Element>(xs: &Tensor, write: impl FnOnce(&mut [T])) -> Result<Tensor, TchError> {
    let mut ys = xs.f_empty_like()?;
    write(elements_mut(&mut ys));
    Ok(ys)
}
