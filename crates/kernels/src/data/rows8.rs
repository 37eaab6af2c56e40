//! Matrices of 8-bit whole numbers with a scale for each row, as `LLM.int8()` has them (Dettmers et al., arXiv 2208.07339).

use tch::{Device, TchError, Tensor};

/// A matrix in 8 bits: whole numbers in `-127 ..= 127`, and the largest magnitude of each row.
///
/// The weight is rounded to float16 first, as bitsandbytes does. A row of zeros has scale 0 and zeros.
#[derive(Debug)]
pub struct Rows8 {
    codes: Tensor,
    absmax: Tensor,
}

impl Rows8 {
    /// Puts a quantised matrix together from parts whose shapes and kinds are known to fit.
    pub fn from_parts(codes: Tensor, absmax: Tensor) -> Self {
        Self { codes, absmax }
    }

    /// Returns the codes, `CB` of bitsandbytes: int8, `[out, in]`.
    pub fn codes(&self) -> &Tensor {
        &self.codes
    }

    /// Returns the scales, `SCB` of bitsandbytes: float32, `[out]`.
    pub fn absmax(&self) -> &Tensor {
        &self.absmax
    }

    /// Returns the device of the codes.
    pub fn device(&self) -> Device {
        self.codes.device()
    }

    /// Returns the bytes that codes and scales take.
    pub fn num_bytes(&self) -> usize {
        self.codes.numel() + 4 * self.absmax.numel()
    }

    /// Makes another handle on the same codes.
    #[must_use]
    pub fn share(&self) -> Self {
        Self { codes: self.codes.shallow_clone(), absmax: self.absmax.shallow_clone() }
    }

    /// Copies it to another device.
    ///
    /// # Errors
    /// libtorch's, when there is not the memory.
    pub fn to_device(&self, device: Device) -> Result<Self, TchError> {
        Ok(Self { codes: self.codes.f_to(device)?, absmax: self.absmax.f_to(device)? })
    }

    /// Returns whether every scale is a number; a NaN, or what is infinite in float16, makes one that is not.
    ///
    /// # Errors
    /// libtorch's.
    pub fn is_finite(&self) -> Result<bool, TchError> {
        Ok(self.absmax.f_isfinite()?.f_all()?.f_int64_value(&[])? != 0)
    }

    pub(crate) fn rows(&self) -> usize {
        self.absmax.numel()
    }

    pub(crate) fn columns(&self) -> usize {
        self.codes.numel() / self.rows().max(1)
    }
}
