//! Tensors as memory that loops read and write, and how threads share it.
#![expect(unsafe_code, reason = "libtorch's memory as slices, of which each task has its own part")]

use std::marker::PhantomData;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use tch::{Device, Kind, TchError, Tensor};
use torch_ext::parallel;

use crate::element::Element;
use crate::simd::{Format, Out};

/// Returns whether `tensor` is one plain piece of a CPU's memory, of this kind.
fn fits<T: Element>(tensor: &Tensor) -> bool {
    tensor.device() == Device::Cpu && tensor.is_contiguous() && tensor.kind() == T::KIND
}

/// Returns the elements of a contiguous CPU tensor of that kind; none for any other tensor.
pub(crate) fn elements<T: Element>(tensor: &Tensor) -> &[T] {
    if !fits::<T>(tensor) || tensor.numel() == 0 {
        debug_assert!(tensor.numel() == 0, "{:?} {:?}", tensor.kind(), tensor.device());
        return &[];
    }
    // SAFETY: `numel` elements of this type lie one after another; nobody writes to an operand while it is borrowed.
    unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast_const().cast(), tensor.numel()) }
}

/// Returns the elements of a contiguous CPU tensor of that kind, to be written; none for any other tensor. Nobody else may look
/// at the tensor's memory meanwhile: it is new, or a buffer of the caller's.
pub(crate) fn elements_mut<T: Element>(tensor: &mut Tensor) -> &mut [T] {
    if !fits::<T>(tensor) || tensor.numel() == 0 {
        debug_assert!(tensor.numel() == 0, "{:?} {:?}", tensor.kind(), tensor.device());
        return &mut [];
    }
    // SAFETY: as for `elements`; the tensor is borrowed alone.
    unsafe { std::slice::from_raw_parts_mut(tensor.data_ptr().cast(), tensor.numel()) }
}

/// Returns the bits of a contiguous CPU tensor of float16 or bfloat16.
pub(crate) fn half_bits(tensor: &Tensor) -> &[u16] {
    if tensor.kind() == Kind::BFloat16 {
        elements::<bf16>(tensor).reinterpret_cast()
    } else {
        elements::<f16>(tensor).reinterpret_cast()
    }
}

/// A flat CPU tensor of bytes that another tensor may lie over.
#[derive(Debug)]
pub(crate) struct Bytes(pub(crate) Tensor);

// SAFETY: only the address and the length are read through a shared reference.
unsafe impl Sync for Bytes {}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        elements(&self.0)
    }
}

/// Memory that is cut into parts, of which each belongs to one task.
pub(crate) trait Parts: Sync {
    /// A task's share.
    type Part;

    /// Returns the number of parts.
    fn count(&self) -> usize;

    /// Returns the part of task `index`.
    ///
    /// # Safety
    /// No index may ever be asked for twice.
    unsafe fn part(&self, index: usize) -> Self::Part;
}

/// Has every part worked on by one task, on libtorch's threads. A thread makes a state of its own by `start`, and gives it to
/// `end` when its tasks are done.
#[expect(clippy::needless_pass_by_value, reason = "parts are given out once, and then gone")]
pub(crate) fn share_out<P: Parts, S>(
    parts: P,
    start: impl Fn() -> S + Sync,
    body: impl Fn(&mut S, usize, P::Part) + Sync,
    end: impl Fn(S) + Sync,
) {
    parallel(parts.count(), |tasks| {
        let mut state = start();
        for index in tasks {
            // SAFETY: `parallel` gives every task to one thread, once, and the parts are not used again.
            body(&mut state, index, unsafe { parts.part(index) });
        }
        end(state);
    });
}

/// Shares work out as [`share_out`] does, without a state.
pub(crate) fn share<P: Parts>(parts: P, body: impl Fn(usize, P::Part) + Sync) {
    share_out(parts, || (), |(), index, part| body(index, part), drop);
}

/// Pieces of `size` elements, the last perhaps shorter.
#[derive(Debug)]
pub(crate) struct Chunks<'a, T> {
    first: *mut T,
    len: usize,
    size: usize,
    whole: PhantomData<&'a mut [T]>,
}

// SAFETY: an address and lengths; each element is in one part.
unsafe impl<T: Send> Sync for Chunks<'_, T> {}

impl<'a, T> Chunks<'a, T> {
    pub(crate) fn new(whole: &'a mut [T], size: usize) -> Self {
        Self { first: whole.as_mut_ptr(), len: whole.len(), size: size.max(1), whole: PhantomData }
    }
}

impl<'a, T: Send> Parts for Chunks<'a, T> {
    type Part = &'a mut [T];

    fn count(&self) -> usize {
        self.len.div_ceil(self.size)
    }

    unsafe fn part(&self, index: usize) -> &'a mut [T] {
        let start = index * self.size;
        assert!(start < self.len, "part {index} of {}", self.count());
        // SAFETY: inside the slice; exclusive by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.first.add(start), self.size.min(self.len - start)) }
    }
}

/// Two results of the same tasks.
impl<A: Parts, B: Parts> Parts for (A, B) {
    type Part = (A::Part, B::Part);

    fn count(&self) -> usize {
        debug_assert_eq!(self.0.count(), self.1.count());
        self.0.count()
    }

    unsafe fn part(&self, index: usize) -> Self::Part {
        // SAFETY: the caller's promise.
        unsafe { (self.0.part(index), self.1.part(index)) }
    }
}

/// [`Chunks`] of a tensor of any floating-point kind.
#[derive(Debug)]
pub(crate) enum FloatChunks<'a> {
    F32(Chunks<'a, f32>),
    Half(Format, Chunks<'a, u16>),
}

impl<'a> FloatChunks<'a> {
    /// Cuts a contiguous CPU tensor up.
    ///
    /// # Errors
    /// [`TchError::Kind`] when it is not floating point.
    pub(crate) fn new(tensor: &'a mut Tensor, size: usize) -> Result<Self, TchError> {
        Ok(match tensor.kind() {
            Kind::Float => Self::F32(Chunks::new(elements_mut(tensor), size)),
            Kind::BFloat16 => {
                let bits = elements_mut::<bf16>(tensor).reinterpret_cast_mut();
                Self::Half(Format::BFloat16, Chunks::new(bits, size))
            }
            Kind::Half => {
                let bits = elements_mut::<f16>(tensor).reinterpret_cast_mut();
                Self::Half(Format::Half, Chunks::new(bits, size))
            }
            kind => return Err(TchError::Kind(format!("{kind:?} is not floating point"))),
        })
    }
}

impl<'a> Parts for FloatChunks<'a> {
    type Part = Out<'a>;

    fn count(&self) -> usize {
        match self {
            Self::F32(chunks) => chunks.count(),
            Self::Half(_, chunks) => chunks.count(),
        }
    }

    unsafe fn part(&self, index: usize) -> Out<'a> {
        // SAFETY: the caller's promise.
        unsafe {
            match self {
                Self::F32(chunks) => Out::F32(chunks.part(index)),
                Self::Half(format, chunks) => Out::Half(*format, chunks.part(index)),
            }
        }
    }
}

/// A matrix whose tasks have `step` columns each, the last perhaps fewer.
#[derive(Debug)]
pub(crate) struct Columns<'a, T> {
    first: *mut T,
    rows: usize,
    width: usize,
    step: usize,
    whole: PhantomData<&'a mut [T]>,
}

// SAFETY: as for `Chunks`.
unsafe impl<T: Send> Sync for Columns<'_, T> {}

impl<'a, T> Columns<'a, T> {
    /// Cuts `whole`, `[rows, width]`, into blocks of `step` columns.
    pub(crate) fn new(whole: &'a mut [T], width: usize, step: usize) -> Self {
        let rows = whole.len() / width.max(1);
        Self { first: whole.as_mut_ptr(), rows, width, step: step.max(1), whole: PhantomData }
    }
}

impl<'a, T: Send> Parts for Columns<'a, T> {
    type Part = ColumnBlock<'a, T>;

    fn count(&self) -> usize {
        self.width.div_ceil(self.step)
    }

    unsafe fn part(&self, index: usize) -> ColumnBlock<'a, T> {
        let start = index * self.step;
        assert!(start < self.width, "part {index} of {}", self.count());
        let len = self.step.min(self.width - start);
        // SAFETY: inside the matrix where it has a row, and not read where it has none.
        let first = self.first.wrapping_add(start);
        ColumnBlock { first, rows: self.rows, width: self.width, start, len, whole: PhantomData }
    }
}

/// Columns `start .. start + len` of every row.
pub(crate) struct ColumnBlock<'a, T> {
    first: *mut T,
    rows: usize,
    width: usize,
    pub(crate) start: usize,
    pub(crate) len: usize,
    whole: PhantomData<&'a mut [T]>,
}

impl<T> ColumnBlock<'_, T> {
    /// Returns these columns of one row.
    #[inline]
    pub(crate) fn row(&mut self, row: usize) -> &mut [T] {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        // SAFETY: inside the matrix; these columns belong to this block, which is borrowed alone.
        unsafe { std::slice::from_raw_parts_mut(self.first.add(row * self.width), self.len) }
    }
}

#[cfg(test)]
mod tests;
