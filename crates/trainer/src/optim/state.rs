//! Storage of an optimiser's state: float32 or 8-bit, on the parameters' device or paged.

use kernels::dynamic8::{self, Blocks};
use nn_core::TorchContext;
use tch::{Device, Kind, Tensor};
use torch_ext::cuda::{copy_in_order, pinned};

use crate::TrainError;

/// Parameters with fewer elements keep float32 states (bitsandbytes `min_8bit_size`).
pub(super) const MIN_8BIT_SIZE: i64 = 4096;

/// Elements that share one scale in 8-bit storage.
const BLOCK: f64 = 256.0;

/// One state tensor of a bucket, `[n]`.
#[derive(Debug)]
pub(super) enum Stored {
    /// In float32.
    Float(Tensor),
    /// In blocks of 8-bit codes (Dettmers et al., "8-bit Optimizers via Block-wise Quantization", arXiv 2110.02861).
    EightBit { blocks: Blocks, signed: bool },
}

/// Returns the bytes that one state tensor takes for each element.
pub(super) fn bytes_per_element(eight_bit: bool) -> f64 {
    if eight_bit { 1.0 + 4.0 / BLOCK } else { 4.0 }
}

impl Stored {
    /// Allocates `len` zeros on `device`.
    pub(super) fn zeros(len: i64, device: Device, eight_bit: bool, signed: bool) -> Result<Self, TrainError> {
        let zeros = Tensor::f_zeros([len], (Kind::Float, device)).op("zeros")?;
        if !eight_bit {
            return Ok(Self::Float(zeros));
        }
        Ok(Self::EightBit { blocks: dynamic8::quantize(&zeros, signed).op("quantize")?, signed })
    }

    /// Moves the tensor to pinned host memory, which a GPU reads and writes without an intermediate copy.
    pub(super) fn pinned(self) -> Result<Self, TrainError> {
        let pin = |xs: Tensor| pinned(&xs).op("pin_memory");
        Ok(match self {
            Self::Float(values) => Self::Float(pin(values)?),
            Self::EightBit { blocks: Blocks { codes, absmax }, signed } => {
                Self::EightBit { blocks: Blocks { codes: pin(codes)?, absmax: pin(absmax)? }, signed }
            }
        })
    }

    /// Returns the values in float32 on `device`: the stored tensor itself, or a copy.
    pub(super) fn values(&self, device: Device) -> Result<Tensor, TrainError> {
        // From pinned memory the host does not wait.
        let fetch = |xs: &Tensor| xs.f_to_device_(device, xs.kind(), true, false).op("to");
        Ok(match self {
            Self::Float(values) => fetch(values)?,
            Self::EightBit { blocks: Blocks { codes, absmax }, signed } => {
                let blocks = Blocks { codes: fetch(codes)?, absmax: fetch(absmax)? };
                dynamic8::dequantize(&blocks, *signed).op("dequantize")?
            }
        })
    }

    /// Stores new values, computed in place on what [`Stored::values`] returned.
    pub(super) fn store(&mut self, values: Tensor) -> Result<(), TrainError> {
        match self {
            Self::Float(kept) => replace(kept, values),
            Self::EightBit { blocks, signed } => {
                let new = dynamic8::quantize(&values, *signed).op("quantize")?;
                replace(&mut blocks.codes, new.codes)?;
                replace(&mut blocks.absmax, new.absmax)
            }
        }
    }
}

/// Replaces `kept` by `new`, or copies the values of `new` into it when it lies in the host's pinned memory, for which nobody waits.
fn replace(kept: &mut Tensor, new: Tensor) -> Result<(), TrainError> {
    if kept.device() == new.device() {
        *kept = new;
    } else {
        copy_in_order(kept, &new).op("copy_")?;
    }
    Ok(())
}
