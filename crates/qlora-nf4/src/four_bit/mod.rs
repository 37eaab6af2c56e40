//! 4-bit schemes: blocks of codes into a table of 16 values, with a scale each.

mod files;
mod weight;

use kernels::CodeTable;
use nn_core::ModulePath;
use tch::Tensor;
use weights::{TensorSpec, TensorStore};

use self::weight::Weight4;
use crate::scheme::{Blocks, Scheme};
use crate::{QuantError, QuantWeight};

/// A 4-bit data type of bitsandbytes.
#[derive(Debug)]
pub(crate) struct FourBit {
    name: &'static str,
    /// The value of each code, in `-1 ..= 1`.
    pub(crate) table: CodeTable,
}

impl FourBit {
    /// A data type whose codes stand for `values`.
    pub(crate) const fn new(name: &'static str, values: [f32; 16]) -> Self {
        Self { name, table: CodeTable::new(values) }
    }
}

impl Scheme for FourBit {
    fn name(&self) -> &'static str {
        self.name
    }

    fn bits(&self) -> u32 {
        4
    }

    fn has_blocks(&self) -> bool {
        true
    }

    fn bytes(&self, numbers: i64, blocks: Blocks) -> f64 {
        // A float32 a block, or one byte and a 256th of a float32.
        let scale = if blocks.double_quant { 1.0 + 4.0 / 256.0 } else { 4.0 };
        numbers as f64 * (0.5 + scale / blocks.size as f64)
    }

    fn quantize(&'static self, weight: &Tensor, blocks: Blocks) -> Result<Box<dyn QuantWeight>, QuantError> {
        Ok(Box::new(Weight4::quantize(self, weight, blocks)?))
    }

    fn parts(&self, weight: &TensorSpec, blocks: Blocks) -> Vec<TensorSpec> {
        files::parts(self, weight, blocks)
    }

    fn owns(&self, tensor: &str) -> bool {
        tensor.contains(files::STATE)
    }

    fn open(
        &'static self,
        store: &TensorStore,
        path: &ModulePath,
        shape: [i64; 2],
    ) -> Result<Option<Box<dyn QuantWeight>>, QuantError> {
        let name = format!("{path}.weight");
        if !store.contains(&files::state_name(&name, self)) {
            return Ok(None);
        }
        Ok(Some(Box::new(files::open(self, store, &name, shape)?)))
    }
}
