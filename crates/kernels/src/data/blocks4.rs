//! Numbers in blocks of 4-bit codes, with a scale each (bitsandbytes' `quantize_4bit`).

use tch::{Device, Kind, TchError, Tensor};

use crate::dynamic8;
use crate::simd::CodeTable;

/// The scales of blocks.
#[derive(Debug)]
pub enum Scales {
    /// Unquantised, float32, `[blocks]`.
    Plain(Tensor),
    /// Less their mean, in blocks of 256 8-bit codes (QLoRA, arXiv 2305.14314, §3 "Double Quantization").
    Nested {
        /// uint8, `[blocks]`.
        codes: Tensor,
        /// Scale of each 256 of them, float32.
        absmax: Tensor,
        /// Value of each code, float32, `[256]`.
        map: Tensor,
        /// The mean that was taken off.
        offset: f32,
    },
}

impl Scales {
    /// Quantises scales less their mean.
    ///
    /// # Errors
    /// libtorch's, when there is not the memory.
    pub(crate) fn nest(scales: &Tensor) -> Result<Self, TchError> {
        let mean = scales.f_mean(Kind::Float)?;
        let blocks = dynamic8::quantize(&scales.f_sub(&mean)?, true)?;
        let map = Tensor::f_from_slice(dynamic8::map(true))?.f_to(scales.device())?;
        let offset = mean.f_double_value(&[])? as f32;
        Ok(Self::Nested { codes: blocks.codes, absmax: blocks.absmax, map, offset })
    }
}

/// A tensor in blocks of 4-bit codes, row-major: a number is its code's value times its block's scale.
///
/// An infinity or a NaN makes every number of its block NaN or infinite, as in bitsandbytes. Blocks of zeros come back as zeros.
#[derive(Debug)]
pub struct Blocks4 {
    packed: Tensor,
    scales: Scales,
    table: &'static CodeTable,
    block_size: usize,
    shape: Vec<i64>,
}

impl Blocks4 {
    /// Puts a quantised tensor together from parts whose shapes and kinds are known to fit.
    pub fn from_parts(
        packed: Tensor,
        scales: Scales,
        table: &'static CodeTable,
        block_size: usize,
        shape: Vec<i64>,
    ) -> Self {
        Self { packed, scales, table, block_size, shape }
    }

    /// Returns the codes, two a byte, the first in the upper half: uint8, `[ceil(n / 2), 1]`.
    pub fn packed(&self) -> &Tensor {
        &self.packed
    }

    /// Returns the scales.
    pub fn scales(&self) -> &Scales {
        &self.scales
    }

    /// Returns the value of each code.
    pub fn table(&self) -> &'static CodeTable {
        self.table
    }

    /// Returns the length of a block, in numbers.
    pub fn block_size(&self) -> usize {
        self.block_size
    }

    /// Returns the shape of what was quantised.
    pub fn shape(&self) -> &[i64] {
        &self.shape
    }

    /// Returns the device of the codes.
    pub fn device(&self) -> Device {
        self.packed.device()
    }

    /// Returns the bytes that codes and scales take.
    pub fn num_bytes(&self) -> usize {
        let bytes = |tensor: &Tensor| tensor.numel() * tensor.kind().elt_size_in_bytes();
        bytes(&self.packed)
            + match &self.scales {
                Scales::Plain(scales) => bytes(scales),
                Scales::Nested { codes, absmax, map, .. } => bytes(codes) + bytes(absmax) + bytes(map),
            }
    }

    /// Makes another handle on the same codes.
    #[must_use]
    pub fn share(&self) -> Self {
        let scales = match &self.scales {
            Scales::Plain(scales) => Scales::Plain(scales.shallow_clone()),
            Scales::Nested { codes, absmax, map, offset } => Scales::Nested {
                codes: codes.shallow_clone(),
                absmax: absmax.shallow_clone(),
                map: map.shallow_clone(),
                offset: *offset,
            },
        };
        self.with(self.packed.shallow_clone(), scales)
    }

    /// Copies it to another device.
    ///
    /// # Errors
    /// libtorch's, when there is not the memory.
    pub fn to_device(&self, device: Device) -> Result<Self, TchError> {
        let to = |tensor: &Tensor| tensor.f_to(device);
        let scales = match &self.scales {
            Scales::Plain(scales) => Scales::Plain(to(scales)?),
            Scales::Nested { codes, absmax, map, offset } => {
                Scales::Nested { codes: to(codes)?, absmax: to(absmax)?, map: to(map)?, offset: *offset }
            }
        };
        Ok(self.with(to(&self.packed)?, scales))
    }

    fn with(&self, packed: Tensor, scales: Scales) -> Self {
        Self { packed, scales, table: self.table, block_size: self.block_size, shape: self.shape.clone() }
    }

    /// Returns the length of a row of a matrix, in numbers.
    pub(crate) fn columns(&self) -> usize {
        self.shape[1] as usize
    }
}
