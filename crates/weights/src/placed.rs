//! Place of a tensor in a file.

use nn_core::TorchContext;
use tch::{Device, Kind, Tensor};

use crate::WeightsError;
use crate::mapping::MappedFile;

/// A tensor's place in a file, checked to lie inside it.
#[derive(Debug, Clone)]
pub(crate) struct Placed {
    pub(crate) kind: Kind,
    pub(crate) shape: Vec<i64>,
    /// First byte, from the start of the file.
    offset: usize,
    /// Elements from the first to the last one, both counted; the gaps of a strided tensor count too.
    extent: usize,
    /// In elements; `None` when the elements lie one after another.
    strides: Option<Vec<i64>>,
}

impl Placed {
    /// Places a tensor whose elements lie one after another. `None` when it does not fit into `num_bytes`.
    pub(crate) fn contiguous(offset: usize, num_bytes: usize, shape: Vec<i64>, kind: Kind) -> Option<Self> {
        let extent = num_elements(&shape)?;
        let fits = extent.checked_mul(kind.elt_size_in_bytes())? <= num_bytes;
        fits.then_some(Self { kind, shape, offset, extent, strides: None })
    }

    /// Places a view of a storage that starts at byte `storage` and has `num_bytes`; `first` and `strides` count
    /// elements. `None` when it reaches outside the storage.
    pub(crate) fn strided(
        storage: usize,
        num_bytes: usize,
        first: usize,
        shape: Vec<i64>,
        strides: Vec<i64>,
        kind: Kind,
    ) -> Option<Self> {
        if shape.len() != strides.len() {
            return None;
        }
        let size = kind.elt_size_in_bytes();
        let skipped = first.checked_mul(size)?;
        let (offset, num_bytes) = (storage.checked_add(skipped)?, num_bytes.checked_sub(skipped)?);
        if num_elements(&shape)? == 0 || is_contiguous(&shape, &strides) {
            return Self::contiguous(offset, num_bytes, shape, kind);
        }
        let extent = shape.iter().zip(&strides).try_fold(1usize, |extent, (&len, &stride)| {
            let reach = usize::try_from(len - 1).ok()?.checked_mul(usize::try_from(stride).ok()?)?;
            extent.checked_add(reach)
        })?;
        let fits = extent.checked_mul(size)? <= num_bytes;
        fits.then_some(Self { kind, shape, offset, extent, strides: Some(strides) })
    }

    /// Returns the size of the tensor's elements in bytes.
    pub(crate) fn num_bytes(&self) -> u64 {
        self.shape.iter().fold(self.kind.elt_size_in_bytes() as u64, |n, &len| n.saturating_mul(len as u64))
    }

    /// Makes the tensor, looking at `file`; a copy where its address does not suit its element size.
    pub(crate) fn tensor(&self, file: &MappedFile) -> Result<Tensor, WeightsError> {
        let shape = if self.strides.is_some() { &[self.extent as i64] } else { self.shape.as_slice() };
        let size = self.kind.elt_size_in_bytes();
        let elements = if self.extent == 0 {
            Tensor::f_empty(shape, (self.kind, Device::Cpu)).op("empty")?
        } else {
            let part = file.part(self.offset..self.offset + self.extent * size)?;
            let bytes = (*part).as_ref();
            if bytes.as_ptr().addr().is_multiple_of(size) {
                torch_ext::tensor_over(part, 0, shape, self.kind)?
            } else {
                Tensor::f_from_data_size(bytes, shape, self.kind).op("from_data_size")?
            }
        };
        Ok(match &self.strides {
            None => elements,
            Some(strides) => {
                elements.f_as_strided(self.shape.as_slice(), strides.as_slice(), 0).op("as_strided")?
            }
        })
    }
}

/// Multiplies sizes; `None` when one is negative or the product is beyond libtorch's 63 bits.
fn num_elements(shape: &[i64]) -> Option<usize> {
    let product = shape.iter().try_fold(1i64, |n, &len| if len < 0 { None } else { n.checked_mul(len) })?;
    usize::try_from(product).ok()
}

fn is_contiguous(shape: &[i64], strides: &[i64]) -> bool {
    let mut expected = 1;
    shape.iter().zip(strides).rev().all(|(&len, &stride)| {
        let fits = len == 1 || stride == expected;
        expected *= len;
        fits
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_may_end_exactly_where_its_storage_ends() {
        let transposed =
            |bytes| Placed::strided(100, bytes, 1, vec![2, 3], vec![1, 2], Kind::Float).map(|p| p.extent);
        assert_eq!(transposed(28), Some(6));
        assert_eq!(transposed(27), None);
    }

    #[test]
    fn sizes_that_overflow_are_refused() {
        assert!(Placed::contiguous(0, usize::MAX, vec![i64::MAX, 4], Kind::Float).is_none());
        assert!(Placed::contiguous(0, 8, vec![-1, -1], Kind::Float).is_none());
        assert!(Placed::strided(0, 64, 0, vec![2, 2], vec![i64::MAX, i64::MAX], Kind::Float).is_none());
        assert!(Placed::strided(0, 64, 0, vec![2, 2], vec![-1, 1], Kind::Float).is_none());
        assert!(Placed::strided(0, 64, usize::MAX, vec![2], vec![1], Kind::Float).is_none());
    }
}
