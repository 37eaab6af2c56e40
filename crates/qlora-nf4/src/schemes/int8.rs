//! `LLM.int8()`'s weights (Dettmers et al., arXiv 2208.07339): whole numbers, row by row.

use kernels::Rows8;
use nn_core::{ModulePath, TorchContext};
use tch::{Device, Kind, Tensor};
use weights::{TensorSpec, TensorStore};

use crate::QuantError;
use crate::scheme::{Blocks, Scheme, check, part};
use crate::weight::{QuantWeight, check_kind};

#[derive(Debug)]
pub(super) struct Int8;

pub(super) static SCHEME: Int8 = Int8;

impl Scheme for Int8 {
    fn name(&self) -> &'static str {
        "int8"
    }

    fn bits(&self) -> u32 {
        8
    }

    fn has_blocks(&self) -> bool {
        false
    }

    /// Leaves out the scales, of which there is one a row.
    fn bytes(&self, numbers: i64, _: Blocks) -> f64 {
        numbers as f64
    }

    fn quantize(&'static self, weight: &Tensor, _: Blocks) -> Result<Box<dyn QuantWeight>, QuantError> {
        let kind = weight.f_kind().op("kind")?;
        check_kind(kind)?;
        if weight.dim() != 2 {
            return Err(QuantError::NotAMatrix { actual: weight.size() });
        }
        Ok(Box::new(Weight8 { codes: Rows8::quantize(weight).op("quantize")?, kind }))
    }

    fn parts(&self, weight: &TensorSpec, _: Blocks) -> Vec<TensorSpec> {
        let spec = |name: String, kind, shape: Vec<i64>| TensorSpec { name, kind, shape };
        let rows = weight.shape.first().copied().unwrap_or_default();
        vec![
            spec(weight.name.clone(), Kind::Int8, weight.shape.clone()),
            spec(beside(&weight.name, "SCB"), Kind::Float, vec![rows]),
            spec(beside(&weight.name, "weight_format"), Kind::Uint8, vec![]),
        ]
    }

    fn owns(&self, tensor: &str) -> bool {
        tensor.rsplit('.').next() == Some("SCB")
    }

    fn open(
        &'static self,
        store: &TensorStore,
        path: &ModulePath,
        shape: [i64; 2],
    ) -> Result<Option<Box<dyn QuantWeight>>, QuantError> {
        let (name, scales) = (format!("{path}.weight"), format!("{path}.SCB"));
        let of_bytes = store.info(&name).is_ok_and(|info| info.kind == Kind::Int8);
        if !of_bytes && !store.contains(&scales) {
            return Ok(None);
        }
        let (codes, absmax) = (part(store, &name, &name)?, part(store, &name, &scales)?);
        check(&name, "has kind", &format!("{:?}", codes.kind()), &"Int8")?;
        check(&name, "has shape", &format!("{:?}", codes.size()), &format!("{shape:?}"))?;
        check(&scales, "has kind", &format!("{:?}", absmax.kind()), &"Float")?;
        check(&scales, "has length", &absmax.numel(), &shape[0])?;
        let format = format!("{path}.weight_format");
        if store.contains(&format) {
            let value = store.tensor(&format)?.f_reshape([-1i64]).op("reshape")?;
            // col32, turing and ampere were layouts of old GPUs; bitsandbytes refuses them too.
            check(&format, "is", &value.f_int64_value(&[0]).op("int64_value")?, &0)?;
        }
        let absmax = absmax.f_reshape([-1i64]).op("reshape")?;
        Ok(Some(Box::new(Weight8 { codes: Rows8::from_parts(codes, absmax), kind: Kind::Half })))
    }
}

/// A weight in 8 bits.
#[derive(Debug)]
struct Weight8 {
    codes: Rows8,
    /// Kind of what was quantised.
    kind: Kind,
}

impl QuantWeight for Weight8 {
    fn in_features(&self) -> i64 {
        self.codes.codes().size()[1]
    }

    fn out_features(&self) -> i64 {
        self.codes.codes().size()[0]
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
        Box::new(Self { codes: self.codes.share(), kind: self.kind })
    }

    fn to_device(&self, device: Device) -> Result<Box<dyn QuantWeight>, QuantError> {
        Ok(Box::new(Self { codes: self.codes.to_device(device).op("to")?, kind: self.kind }))
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
        let row_major = Tensor::f_from_slice(&[0u8]).op("from_slice")?.f_reshape([0i64; 0]).op("reshape")?;
        Ok(vec![
            (name.to_owned(), self.codes.codes().shallow_clone()),
            (beside(name, "SCB"), self.codes.absmax().shallow_clone()),
            (beside(name, "weight_format"), row_major),
        ])
    }
}

/// Returns the name of a tensor of the layer whose weight is `name`.
fn beside(name: &str, suffix: &str) -> String {
    format!("{}.{suffix}", name.strip_suffix(".weight").unwrap_or(name))
}
