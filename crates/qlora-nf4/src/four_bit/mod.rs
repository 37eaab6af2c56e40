//! 4-bit schemes: blocks of codes into a table of 16 values, with a scale each.

mod data_type;
mod files;
mod weight;

use nn_core::ModulePath;
use tch::Tensor;
use weights::{TensorSpec, TensorStore};

pub(crate) use self::data_type::FourBit;
use self::weight::Weight4;
use crate::scheme::{Blocks, Scheme};
use crate::{QuantError, QuantWeight};

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
        let (codes, kind) = files::open(self, store, &name, shape)?;
        Ok(Some(Box::new(Weight4 { scheme: self, codes, kind })))
    }
}
