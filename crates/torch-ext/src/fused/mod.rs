//! Small operations of a decoding step in one pass each.
//!
//! A step of one token works on a few thousand numbers between two products. As tensor operations that is nine calls for
//! each rotation and seven for each norm, and a call costs more than its numbers do.

mod rms_norm;
mod rotate_half;

pub use rms_norm::rms_norm;
pub use rotate_half::rotate_half;

use half::{bf16, f16};
use tch::{Device, TchError, Tensor};

/// Up to so many tokens the calls are what takes the time; more are libtorch's, on all threads.
const MOST_ROWS: i64 = 8;

/// A number of a tensor, which is computed with in float32.
trait Element: Copy {
    fn widen(self) -> f32;
    fn narrow(x: f32) -> Self;
}

impl Element for f32 {
    fn widen(self) -> f32 {
        self
    }
    fn narrow(x: f32) -> Self {
        x
    }
}

impl Element for bf16 {
    fn widen(self) -> f32 {
        self.to_f32()
    }
    fn narrow(x: f32) -> Self {
        Self::from_f32(x)
    }
}

impl Element for f16 {
    fn widen(self) -> f32 {
        self.to_f32()
    }
    fn narrow(x: f32) -> Self {
        Self::from_f32(x)
    }
}

/// Whether all of `tensors` are plain memory of a CPU, of one kind, and need no gradient.
fn plain(tensors: &[&Tensor]) -> bool {
    let kind = tensors[0].kind();
    tensors.iter().all(|xs| {
        xs.device() == Device::Cpu && xs.kind() == kind && xs.is_contiguous() && !xs.requires_grad()
    })
}

/// The numbers of a tensor that is [`plain`].
fn numbers<T: Element>(xs: &Tensor) -> &[T] {
    if xs.numel() == 0 {
        return &[];
    }
    // SAFETY: `numel` numbers of this kind lie one after another, and nobody writes to an operand meanwhile.
    unsafe { std::slice::from_raw_parts(xs.data_ptr().cast_const().cast(), xs.numel()) }
}

/// A new tensor like `xs`, whose numbers `write` puts in place.
fn filled<T: Element>(xs: &Tensor, write: impl FnOnce(&mut [T])) -> Result<Tensor, TchError> {
    let ys = xs.f_empty_like()?;
    if ys.numel() > 0 {
        // SAFETY: as for `numbers`; the tensor is new, so nobody else looks at it.
        write(unsafe { std::slice::from_raw_parts_mut(ys.data_ptr().cast(), ys.numel()) });
    }
    Ok(ys)
}

/// Calls a function of a type of numbers for a kind, and `otherwise` for kinds that are not floating point.
macro_rules! for_kind {
    ($kind:expr, $call:ident($($arg:expr),*), $otherwise:expr) => {
        match $kind {
            Kind::Float => $call::<f32>($($arg),*),
            Kind::BFloat16 => $call::<half::bf16>($($arg),*),
            Kind::Half => $call::<half::f16>($($arg),*),
            _ => $otherwise,
        }
    };
}
use for_kind;
