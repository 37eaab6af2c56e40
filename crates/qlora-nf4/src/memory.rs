//! Tensors as memory that kernels read and write.
#![expect(unsafe_code, reason = "kernels of our own read and write libtorch's memory")]

use tch::{Device, Kind, Tensor};

/// Elements that memory can be looked at as.
pub(crate) trait Element: Copy {
    /// Whether a tensor of `kind` holds such elements.
    fn is(kind: Kind) -> bool;
}

impl Element for u8 {
    fn is(kind: Kind) -> bool {
        kind == Kind::Uint8
    }
}

impl Element for i8 {
    fn is(kind: Kind) -> bool {
        kind == Kind::Int8
    }
}

impl Element for f32 {
    fn is(kind: Kind) -> bool {
        kind == Kind::Float
    }
}

/// The bits of a float16 or a bfloat16.
impl Element for u16 {
    fn is(kind: Kind) -> bool {
        matches!(kind, Kind::Half | Kind::BFloat16)
    }
}

fn fits<T: Element>(tensor: &Tensor) -> bool {
    tensor.device() == Device::Cpu && tensor.is_contiguous() && T::is(tensor.kind())
}

/// The elements of a contiguous CPU tensor of that kind; nothing for any other tensor.
pub(crate) fn elements<T: Element>(tensor: &Tensor) -> &[T] {
    if !fits::<T>(tensor) || tensor.numel() == 0 {
        debug_assert!(tensor.numel() == 0, "{:?} {:?}", tensor.kind(), tensor.device());
        return &[];
    }
    // SAFETY: `numel` elements of this size lie one after another; nobody writes to a weight while it is borrowed.
    unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast_const().cast(), tensor.numel()) }
}

/// The elements of a contiguous CPU tensor, for threads that each write their own part.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output<T> {
    first: *mut T,
    len: usize,
}

// SAFETY: an address and a length; `part` is where threads promise not to overlap.
unsafe impl<T> Sync for Output<T> {}

impl<T: Element> Output<T> {
    /// The elements of `tensor`, which has to be new: nobody else may look at it until the kernel is done.
    pub(crate) fn new(tensor: &mut Tensor) -> Self {
        if fits::<T>(tensor) {
            Self { first: tensor.data_ptr().cast(), len: tensor.numel() }
        } else {
            debug_assert!(false, "{:?} {:?}", tensor.kind(), tensor.device());
            Self { first: std::ptr::NonNull::dangling().as_ptr(), len: 0 }
        }
    }

    /// `len` elements from `start` on.
    ///
    /// # Safety
    /// No two parts that live at the same time may overlap, and the tensor has to be alive.
    #[expect(clippy::mut_from_ref, reason = "the caller promises that parts do not overlap")]
    pub(crate) unsafe fn part(&self, start: usize, len: usize) -> &mut [T] {
        assert!(start <= self.len && len <= self.len - start, "{start} + {len} of {}", self.len);
        // SAFETY: inside the tensor; exclusive by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.first.add(start), len) }
    }
}

#[cfg(test)]
mod tests {
    use tch::{Kind, Tensor};

    use super::elements;
    use crate::cpu::Format;

    #[test]
    fn rounding_to_16_bits_is_libtorchs() {
        // From 2^-40 to 2^19, of either sign.
        let xs: Vec<f32> = (0..5000).map(|i| (i as f32 * 0.7).sin() * 2f32.powi(i % 60 - 40)).collect();
        for (format, kind) in [(Format::Half, Kind::Half), (Format::BFloat16, Kind::BFloat16)] {
            let theirs = Tensor::from_slice(&xs).to_kind(kind);
            let theirs = elements::<u16>(&theirs);
            assert_eq!(theirs.len(), xs.len());
            assert!(xs.iter().zip(theirs).all(|(&x, &bits)| format.narrow(x) == bits), "{format:?}");
        }
    }
}
