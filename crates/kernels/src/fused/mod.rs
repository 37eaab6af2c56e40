//! Small operations of a decoding step in one pass each.
//!
//! A step of one token works on a few thousand numbers between two products. As tensor operations that is nine calls for
//! each rotation and seven for each norm, and a call costs more than its numbers do.

mod rms_norm;
mod rotate_half;

pub use rms_norm::rms_norm;
pub use rotate_half::rotate_half;

use tch::{Device, TchError, Tensor};

use crate::element::Element;
use crate::memory::elements_mut;

/// Up to so many tokens the calls are what takes the time; more are libtorch's, on all threads.
const MOST_ROWS: i64 = 8;

/// Returns whether all of `tensors` are plain memory of a CPU, of one kind, and need no gradient.
fn plain(tensors: &[&Tensor]) -> bool {
    let kind = tensors[0].kind();
    tensors.iter().all(|xs| {
        xs.device() == Device::Cpu && xs.kind() == kind && xs.is_contiguous() && !xs.requires_grad()
    })
}

/// Makes a new tensor like `xs`, whose numbers `write` puts in place.
fn filled<T: Element>(xs: &Tensor, write: impl FnOnce(&mut [T])) -> Result<Tensor, TchError> {
    let mut ys = xs.f_empty_like()?;
    write(elements_mut(&mut ys));
    Ok(ys)
}
