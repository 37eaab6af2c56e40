//! The contract of a quantised weight.

use tch::{Device, Kind, Tensor};

use crate::QuantError;

/// A quantised matrix `W`, `[out, in]`.
pub trait QuantWeight: std::fmt::Debug + Send {
    /// Returns the input width.
    fn in_features(&self) -> i64;

    /// Returns the output width.
    fn out_features(&self) -> i64;

    /// Returns the device of the codes.
    fn device(&self) -> Device;

    /// Returns the kind of what was quantised.
    fn kind(&self) -> Kind;

    /// Returns the bytes that codes and scales take.
    fn num_bytes(&self) -> usize;

    /// Returns whether every number that was quantised is finite.
    ///
    /// # Errors
    /// [`QuantError::Torch`] when libtorch refuses.
    fn is_finite(&self) -> Result<bool, QuantError>;

    /// Makes another handle on the same codes.
    fn share(&self) -> Box<dyn QuantWeight>;

    /// Copies it to another device.
    ///
    /// # Errors
    /// [`QuantError::Torch`] when there is not the memory.
    fn to_device(&self, device: Device) -> Result<Box<dyn QuantWeight>, QuantError>;

    /// Computes `W` in `kind`.
    ///
    /// # Errors
    /// [`QuantError::Torch`] when there is not the memory or `kind` is not floating point.
    fn dequantize(&self, kind: Kind) -> Result<Tensor, QuantError>;

    /// Writes `W[row.., column..]` into `tile`, `[rows, width]`, contiguous, floating point, on the same device.
    ///
    /// # Errors
    /// As [`Self::dequantize`].
    fn fill(&self, tile: &mut Tensor, row: usize, column: usize) -> Result<(), QuantError>;

    /// Computes `xs Wᵀ` while the codes are read: `[rows, in]` to `[rows, out]`, in the kind of `xs`. `None` where no loop or
    /// kernel does it, for which more than a few rows are reason enough.
    ///
    /// # Errors
    /// [`QuantError::Torch`] when there is not the memory.
    fn few_rows(&self, xs: &Tensor) -> Result<Option<Tensor>, QuantError>;

    /// Returns the tensors that a file holds for the weight `name`, as [`crate::Quantization::parts`] describes them.
    ///
    /// # Errors
    /// [`QuantError::Torch`] when there is not the memory.
    fn parts(&self, name: &str) -> Result<Vec<(String, Tensor)>, QuantError>;
}

/// Checks that tensors of `kind` can be quantised.
pub(crate) fn check_kind(kind: Kind) -> Result<(), QuantError> {
    if matches!(kind, Kind::Float | Kind::BFloat16 | Kind::Half) {
        Ok(())
    } else {
        Err(QuantError::Kind { actual: kind })
    }
}
