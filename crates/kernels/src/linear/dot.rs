//! The type of a loop that multiplies one row of a weight.
#![expect(unsafe_code, reason = "a loop of instructions that the processor was asked for")]

/// Rows of inputs that one call takes.
pub(super) const GROUP: usize = 4;

/// The products of a row of the weight, `width` elements at the pointer, with up to [`GROUP`] rows of inputs, as many of
/// `width` elements as the last number says; added up in float32. What is returned beyond them is zero.
pub(super) type Loop<W, X> = unsafe fn(*const W, *const X, usize, usize) -> [f32; GROUP];

/// A [`Loop`] whose instructions this processor has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dot<W, X>(Loop<W, X>);

impl<W, X> Dot<W, X> {
    /// Takes a loop.
    ///
    /// # Safety
    /// The processor has the instructions.
    pub(super) unsafe fn new(of: Loop<W, X>) -> Self {
        Self(of)
    }

    /// Computes the products of `weight`, one row, with the rows of `inputs`, of which there are at most [`GROUP`].
    #[inline]
    pub(super) fn call(self, weight: &[W], inputs: &[X]) -> [f32; GROUP] {
        let (width, rows) = (weight.len(), inputs.len() / weight.len());
        assert!(rows * width == inputs.len() && (1..=GROUP).contains(&rows), "{rows} rows of {width}");
        // SAFETY: the instructions are there, and both pointers hold what is said.
        unsafe { (self.0)(weight.as_ptr(), inputs.as_ptr(), width, rows) }
    }
}
