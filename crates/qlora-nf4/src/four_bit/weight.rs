//! A weight in 4 bits.

use kernels::Blocks4;
use nn_core::TorchContext;
use tch::{Device, Kind, Tensor};

use super::data_type::FourBit;
use super::files;
use crate::QuantError;
use crate::scheme::Blocks;
use crate::weight::{QuantWeight, check_kind};

/// A weight in a 4-bit data type.
#[derive(Debug)]
pub(super) struct Weight4 {
    pub(super) scheme: &'static FourBit,
    pub(super) codes: Blocks4,
    /// Kind of what was quantised.
    pub(super) kind: Kind,
}

impl Weight4 {
    /// Quantises `weight` where it lies.
    pub(super) fn quantize(
        scheme: &'static FourBit,
        weight: &Tensor,
        blocks: Blocks,
    ) -> Result<Self, QuantError> {
        blocks.validate()?;
        let kind = weight.f_kind().op("kind")?;
        check_kind(kind)?;
        let codes = Blocks4::quantize(weight, &scheme.table, blocks.size, blocks.double_quant);
        Ok(Self { scheme, codes: codes.op("quantize")?, kind })
    }

    fn with(&self, codes: Blocks4) -> Box<dyn QuantWeight> {
        Box::new(Self { scheme: self.scheme, codes, kind: self.kind })
    }
}

impl QuantWeight for Weight4 {
    fn in_features(&self) -> i64 {
        self.codes.shape()[1]
    }

    fn out_features(&self) -> i64 {
        self.codes.shape()[0]
    }

    fn device(&self) -> Device {
        self.codes.device()
    }

    fn kind(&self) -> Kind {
        self.kind
    }

    fn num_bytes(&self) -> usize {
        self.codes.num_bytes()
    }

    fn is_finite(&self) -> Result<bool, QuantError> {
        Ok(self.codes.is_finite().op("isfinite")?)
    }

    fn share(&self) -> Box<dyn QuantWeight> {
        self.with(self.codes.share())
    }

    fn to_device(&self, device: Device) -> Result<Box<dyn QuantWeight>, QuantError> {
        Ok(self.with(self.codes.to_device(device).op("to")?))
    }

    fn dequantize(&self, kind: Kind) -> Result<Tensor, QuantError> {
        check_kind(kind)?;
        Ok(self.codes.dequantize(kind).op("dequantize")?)
    }

    fn fill(&self, tile: &mut Tensor, row: usize, column: usize) -> Result<(), QuantError> {
        check_kind(tile.kind())?;
        Ok(self.codes.fill(tile, row, column).op("fill")?)
    }

    fn few_rows(&self, xs: &Tensor) -> Result<Option<Tensor>, QuantError> {
        Ok(self.codes.product(xs).op("product")?)
    }

    fn parts(&self, name: &str) -> Result<Vec<(String, Tensor)>, QuantError> {
        files::tensors(self.scheme, &self.codes, self.kind, name)
    }
}
