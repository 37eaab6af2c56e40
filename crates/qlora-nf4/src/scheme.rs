//! The contract of a scheme of quantisation.

use std::fmt::Debug;

use nn_core::ModulePath;
use tch::Tensor;
use weights::{TensorSpec, TensorStore};

use crate::{QuantError, QuantWeight};

/// Blocks of numbers that share a scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Blocks {
    /// Numbers in a block: a power of two in 32 ..= 4096.
    pub(crate) size: usize,
    /// Quantises the scales too (QLoRA, arXiv 2305.14314, §3 "Double Quantization").
    pub(crate) double_quant: bool,
}

impl Default for Blocks {
    /// Returns blocks of 64 with scales in float32, as in bitsandbytes.
    fn default() -> Self {
        Self { size: 64, double_quant: false }
    }
}

impl Blocks {
    /// Checks the size.
    ///
    /// # Errors
    /// [`QuantError::BlockSize`] when bitsandbytes has no such blocks.
    pub(crate) fn validate(self) -> Result<(), QuantError> {
        if self.size.is_power_of_two() && (32..=4096).contains(&self.size) {
            Ok(())
        } else {
            Err(QuantError::BlockSize { actual: self.size })
        }
    }
}

/// A way of keeping the weight of a linear layer in few bits, and of naming its parts in a file.
pub(crate) trait Scheme: Debug + Sync {
    /// Returns the name in flags, messages and configuration files.
    fn name(&self) -> &'static str;

    /// Returns the bits of one number without scales: 4 for what transformers calls `load_in_4bit`, 8 for `load_in_8bit`.
    fn bits(&self) -> u32;

    /// Returns whether numbers share scales in [`Blocks`], so that double quantisation applies.
    fn has_blocks(&self) -> bool;

    /// Returns the bytes of a weight of `numbers` numbers, scales included.
    fn bytes(&self, numbers: i64, blocks: Blocks) -> f64;

    /// Quantises `weight`, `[out, in]`, where it lies.
    ///
    /// # Errors
    /// [`QuantError::Kind`] or [`QuantError::NotAMatrix`] for what cannot be quantised so, [`QuantError::Torch`] when there
    /// is not the memory.
    fn quantize(&'static self, weight: &Tensor, blocks: Blocks) -> Result<Box<dyn QuantWeight>, QuantError>;

    /// Returns name, kind and shape of the tensors that a file holds for `weight`: those that [`QuantWeight::parts`] gives.
    fn parts(&self, weight: &TensorSpec, blocks: Blocks) -> Vec<TensorSpec>;

    /// Returns whether the name of a tensor shows that a checkpoint holds weights quantised so.
    fn owns(&self, tensor: &str) -> bool;

    /// Opens the weight of the layer `path`, of this shape, on the CPU; `None` where `store` does not hold it quantised so.
    ///
    /// # Errors
    /// [`QuantError::Missing`], [`QuantError::Contradiction`] or [`QuantError::State`] when its parts do not fit.
    fn open(
        &'static self,
        store: &TensorStore,
        path: &ModulePath,
        shape: [i64; 2],
    ) -> Result<Option<Box<dyn QuantWeight>>, QuantError>;
}

/// Returns a tensor that belongs to the quantised weight `name`.
pub(crate) fn part(store: &TensorStore, name: &str, part: &str) -> Result<Tensor, QuantError> {
    if store.contains(part) {
        Ok(store.tensor(part)?)
    } else {
        Err(QuantError::Missing { name: name.to_owned(), missing: part.to_owned() })
    }
}

/// Checks what one part of a weight is.
pub(crate) fn check(
    name: &str,
    what: &'static str,
    actual: &dyn ToString,
    expected: &dyn ToString,
) -> Result<(), QuantError> {
    let (actual, expected) = (actual.to_string(), expected.to_string());
    if actual == expected {
        Ok(())
    } else {
        Err(QuantError::Contradiction { name: name.to_owned(), what, actual, expected })
    }
}
