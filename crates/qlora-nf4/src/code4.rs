//! The two 4-bit data types.

use serde::{Deserialize, Serialize};

use crate::QuantError;
use crate::cpu::Values;

/// A 4-bit data type of bitsandbytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Code4 {
    /// Quantiles of a normal distribution (QLoRA, arXiv 2305.14314, §3 and appendix E).
    Nf4,
    /// A sign, two bits of exponent and one of mantissa.
    Fp4,
}

impl Code4 {
    /// The value of each code, in `-1 ..= 1` (bitsandbytes `backends/utils.py`).
    pub fn table(self) -> &'static [f32; 16] {
        &self.values().table
    }

    /// The codes in ascending order of their values.
    pub(crate) fn order(self) -> &'static [u8; 16] {
        &self.values().order
    }

    /// What lies half-way between neighbouring values, ascending; a number above `bounds[i]` is nearer to value `i + 1`.
    pub(crate) fn bounds(self) -> [f32; 15] {
        self.values().bounds()
    }

    fn values(self) -> &'static Values {
        match self {
            Self::Nf4 => &Values::NF4,
            Self::Fp4 => &Values::FP4,
        }
    }

    /// The name in files and flags.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nf4 => "nf4",
            Self::Fp4 => "fp4",
        }
    }
}

/// How a weight is quantised to 4 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config4 {
    /// The data type.
    pub code: Code4,
    /// Numbers that share a scale: a power of two in 32 ..= 4096. Default 64, as in bitsandbytes.
    pub block_size: usize,
    /// Whether the scales are quantised too (QLoRA, §3 "Double Quantization").
    pub double_quant: bool,
}

impl Config4 {
    /// `code` in blocks of 64.
    pub fn new(code: Code4, double_quant: bool) -> Self {
        Self { code, block_size: 64, double_quant }
    }

    /// Checks the block size.
    ///
    /// # Errors
    /// [`QuantError::BlockSize`] when bitsandbytes has no such blocks.
    pub fn validate(self) -> Result<Self, QuantError> {
        if self.block_size.is_power_of_two() && (32..=4096).contains(&self.block_size) {
            Ok(self)
        } else {
            Err(QuantError::BlockSize { actual: self.block_size })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_ascend_in_order_and_bounds_lie_between_them() {
        for code in [Code4::Nf4, Code4::Fp4] {
            let sorted: Vec<f32> = code.order().iter().map(|&c| code.table()[usize::from(c)]).collect();
            assert!(sorted.is_sorted());
            let bounds = code.bounds();
            assert!((0..15).all(|i| sorted[i] <= bounds[i] && bounds[i] <= sorted[i + 1]));
        }
        // The literals of bitsandbytes' CUDA kernel.
        assert_eq!(Code4::Nf4.bounds()[6].to_bits(), 0xbd3a_7871);
        assert_eq!(Code4::Nf4.bounds()[14].to_bits(), 0x3f5c_89da);
    }

    #[test]
    fn only_bitsandbytes_block_sizes_are_accepted() {
        let config = |block_size| Config4 { block_size, ..Config4::new(Code4::Nf4, false) };
        assert!([32, 64, 128, 4096].into_iter().all(|size| config(size).validate().is_ok()));
        assert!([0, 16, 48, 8192].into_iter().all(|size| config(size).validate().is_err()));
    }
}
