//! Tensors over memory that somebody else owns.

use std::ffi::c_void;
use std::sync::Arc;

use tch::{Kind, Tensor};
use torch_sys::C_tensor;

use crate::ExtError;
use crate::error::own;

unsafe extern "C" {
    fn torch_ext_tensor_over(
        data: *mut c_void,
        sizes: *const i64,
        dims: i64,
        scalar_type: i8,
        owner: *mut c_void,
        release: extern "C" fn(*mut c_void),
    ) -> *mut C_tensor;
}

type Owner = Arc<dyn AsRef<[u8]> + Send + Sync>;

extern "C" fn release(owner: *mut c_void) {
    // SAFETY: `owner` came from `Box::into_raw` below, and the C++ side releases it once.
    drop(unsafe { Box::from_raw(owner.cast::<Owner>()) });
}

/// Returns libtorch's number for `kind` (c10/core/ScalarType.h).
fn scalar_type(kind: Kind) -> Result<i8, ExtError> {
    Ok(match kind {
        Kind::Uint8 => 0,
        Kind::Int8 => 1,
        Kind::Int16 => 2,
        Kind::Int => 3,
        Kind::Int64 => 4,
        Kind::Half => 5,
        Kind::Float => 6,
        Kind::Double => 7,
        Kind::Bool => 11,
        Kind::BFloat16 => 15,
        kind => return Err(ExtError::Kind { kind }),
    })
}

/// Makes a CPU tensor of `shape` and `kind` that looks at `owner`'s bytes from `byte_offset` on, without a copy. The owner
/// lives until the last tensor over it is gone.
///
/// An in-place operation on the tensor writes to those bytes, so the owner must be memory that may be written, such as
/// a private (copy-on-write) file mapping.
///
/// # Errors
/// [`ExtError::OutOfRange`], [`ExtError::Misaligned`], [`ExtError::Shape`] or [`ExtError::Kind`] when the bytes cannot be looked at so.
pub fn tensor_over(owner: Owner, byte_offset: usize, shape: &[i64], kind: Kind) -> Result<Tensor, ExtError> {
    let scalar_type = scalar_type(kind)?;
    let bytes = (*owner).as_ref();
    let alignment = kind.elt_size_in_bytes();
    let num_bytes = shape
        .iter()
        .try_fold(alignment, |n, &size| n.checked_mul(usize::try_from(size).ok()?))
        .ok_or_else(|| ExtError::Shape { shape: shape.to_vec() })?;
    let available = bytes.len();
    if byte_offset.checked_add(num_bytes).is_none_or(|end| end > available) {
        return Err(ExtError::OutOfRange { offset: byte_offset, num_bytes, available });
    }
    let data = bytes[byte_offset..].as_ptr();
    if !data.addr().is_multiple_of(alignment) {
        return Err(ExtError::Misaligned { offset: byte_offset, alignment });
    }
    let owner = Box::into_raw(Box::new(owner)).cast::<c_void>();
    // SAFETY: the range was checked above; the owner keeps the bytes alive until `release`.
    let tensor = unsafe {
        torch_ext_tensor_over(
            data.cast_mut().cast(),
            shape.as_ptr(),
            shape.len() as i64,
            scalar_type,
            owner,
            release,
        )
    };
    own("tensor_over", tensor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_lives_exactly_as_long_as_its_tensors() {
        let owner: Arc<Vec<u8>> = Arc::new([1.0f32, 2.0, 3.0].iter().flat_map(|x| x.to_le_bytes()).collect());
        let weak = Arc::downgrade(&owner);
        let tensor = tensor_over(owner, 4, &[2], Kind::Float).unwrap();
        let view = tensor.f_narrow(0, 1, 1).unwrap();
        drop(tensor);
        assert!(weak.upgrade().is_some());
        assert_eq!(Vec::<f32>::try_from(&view).unwrap(), [3.0]);
        drop(view);
        assert!(weak.upgrade().is_none());
    }

    #[test]
    fn a_tensor_outside_its_owner_is_rejected() {
        let owner: Arc<Vec<u8>> = Arc::new(vec![0; 8]);
        assert!(matches!(tensor_over(owner.clone(), 4, &[2], Kind::Float), Err(ExtError::OutOfRange { .. })));
        assert!(matches!(tensor_over(owner.clone(), 1, &[1], Kind::Float), Err(ExtError::Misaligned { .. })));
        assert!(matches!(tensor_over(owner, 0, &[-1], Kind::Float), Err(ExtError::Shape { .. })));
    }
}
