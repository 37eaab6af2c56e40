//! The results of a fused operation's loops.

use tch::{TchError, Tensor};

use crate::element::Element;
use crate::memory::{Chunks, elements_mut, share};

/// Numbers that a thread works on at a time: they stay in its cache, and the start of a thread costs less.
const BLOCK: usize = 16 << 10;

/// Makes a new tensor like `xs`, whose rows of `width` numbers `write` puts in place, some of them at a time: it gets the place
/// of the first number and the memory.
pub(super) fn filled<T: Element>(
    xs: &Tensor,
    width: usize,
    write: impl Fn(usize, &mut [T]) + Sync,
) -> Result<Tensor, TchError> {
    let mut ys = xs.f_empty_like()?;
    let block = block(width);
    share(Chunks::new(elements_mut(&mut ys), block), |index, out| write(index * block, out));
    Ok(ys)
}

/// Makes two tensors at once, as [`filled`] does.
pub(super) fn both_filled<T: Element>(
    xs: &Tensor,
    width: usize,
    write: impl Fn(usize, &mut [T], &mut [T]) + Sync,
) -> Result<[Tensor; 2], TchError> {
    let (mut first, mut second) = (xs.f_empty_like()?, xs.f_empty_like()?);
    let block = block(width);
    let chunks =
        (Chunks::new(elements_mut(&mut first), block), Chunks::new(elements_mut(&mut second), block));
    share(chunks, |index, (first, second)| write(index * block, first, second));
    Ok([first, second])
}

/// Returns the numbers of as many whole rows as a thread works on at a time.
fn block(width: usize) -> usize {
    (BLOCK / width.max(1)).max(1) * width.max(1)
}
