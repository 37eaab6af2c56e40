//! Checkpoints that are quantised already, in bitsandbytes' serialised form.

use nn_core::{LinearOp, LinearSource, ModulePath, NnError, TorchContext};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};
use torch_ext::dynamic8;
use weights::{CheckpointSource, TensorStore};

use crate::{Absmax, Code4, Config4, QuantError, QuantLinear, Tensor4, Tensor8};

/// What `….weight.quant_state.bitsandbytes__nf4` holds as JSON (bitsandbytes `functional.py`, `QuantState.as_dict`).
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct QuantState {
    pub(crate) quant_type: String,
    pub(crate) blocksize: usize,
    pub(crate) dtype: String,
    pub(crate) shape: Vec<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nested_blocksize: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nested_dtype: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) nested_offset: Option<f64>,
}

/// PyTorch's name of a kind that is quantised.
pub(crate) fn dtype(kind: Kind) -> &'static str {
    match kind {
        Kind::BFloat16 => "bfloat16",
        Kind::Half => "float16",
        _ => "float32",
    }
}

/// The name of the tensor that holds the state of the weight `name`.
pub(crate) fn state_name(name: &str, code: Code4) -> String {
    format!("{name}.quant_state.bitsandbytes__{}", code.name())
}

/// A quantised checkpoint as the source of a model's layers: codes look at the mapped file, and layers that are not
/// quantised come as they are.
#[derive(Debug)]
pub struct StoredSource<'a> {
    store: &'a TensorStore,
    plain: CheckpointSource<'a>,
    device: Device,
    kind: Option<Kind>,
}

impl<'a> StoredSource<'a> {
    /// A source of `store`'s tensors on `device`; what is not quantised, in `kind`.
    pub fn new(store: &'a TensorStore, device: Device, kind: Option<Kind>) -> Self {
        Self { store, plain: CheckpointSource::new(store, device, kind), device, kind }
    }

    fn tensor4(&self, name: &str, code: Code4, shape: &[i64]) -> Result<Tensor4, QuantError> {
        let state_name = state_name(name, code);
        let state: QuantState = {
            let json = self.store.tensor(&state_name)?;
            let json = Vec::<u8>::try_from(json.f_contiguous().op("contiguous")?).op("to_vec")?;
            serde_json::from_slice(&json)
                .map_err(|source| QuantError::State { name: state_name.clone(), source })?
        };
        let fits = |tensor: &str, what, actual: String, expected: String| {
            if actual == expected {
                Ok(())
            } else {
                Err(QuantError::Contradiction { name: tensor.to_owned(), what, actual, expected })
            }
        };
        fits(&state_name, "has quant_type", state.quant_type, code.name().to_owned())?;
        fits(&state_name, "has shape", format!("{:?}", state.shape), format!("{shape:?}"))?;
        let kind = match &*state.dtype {
            "bfloat16" => Kind::BFloat16,
            "float16" => Kind::Half,
            "float32" => Kind::Float,
            _ => {
                let expected = "bfloat16, float16 or float32".to_owned();
                return fits(&state_name, "has dtype", state.dtype, expected).map(|()| unreachable!());
            }
        };
        let block_size = Config4 { code, block_size: state.blocksize, double_quant: false }.validate();
        let block_size =
            block_size.map(|config| config.block_size).map_err(|_| QuantError::Contradiction {
                name: state_name.clone(),
                what: "has blocksize",
                actual: state.blocksize.to_string(),
                expected: "one of 32, 64, 128, 256, 512, 1024, 2048, 4096".to_owned(),
            })?;
        let numbers = shape.iter().product::<i64>() as usize;
        let blocks = numbers.div_ceil(block_size);
        let part = |suffix: &str, kind: Kind, len: usize| -> Result<Tensor, QuantError> {
            let part = format!("{name}.{suffix}");
            let tensor = self.part(name, &part)?;
            fits(&part, "has kind", format!("{:?}", tensor.kind()), format!("{kind:?}"))?;
            fits(&part, "has length", tensor.numel().to_string(), len.to_string())?;
            Ok(tensor.f_reshape([-1i64]).op("reshape")?)
        };
        let table = part("quant_map", Kind::Float, 16)?;
        let ours = Tensor::f_from_slice(code.table()).op("from_slice")?;
        if !table.f_allclose(&ours, 1e-5, 1e-6, false).op("allclose")? {
            let (actual, expected) = (format!("{table:?}"), format!("the table of {}", code.name()));
            return fits(&format!("{name}.quant_map"), "has", actual, expected).map(|()| unreachable!());
        }
        // Other kinds of storage hold the same bytes.
        let packed = self.part(name, name)?.f_contiguous().op("contiguous")?;
        let packed = packed.f_view_dtype(Kind::Uint8).op("view")?.f_reshape([-1, 1]).op("reshape")?;
        fits(name, "has length", packed.numel().to_string(), numbers.div_ceil(2).to_string())?;
        let nested = state.nested_offset.is_some() || state.nested_blocksize.is_some();
        let absmax = if nested {
            let size = state.nested_blocksize.unwrap_or_default();
            fits(&state_name, "has nested_blocksize", size.to_string(), dynamic8::BLOCK.to_string())?;
            let dtype = state.nested_dtype.unwrap_or_default();
            fits(&state_name, "has nested_dtype", dtype, "float32".to_owned())?;
            let offset = state.nested_offset.ok_or_else(|| QuantError::Missing {
                name: state_name.clone(),
                missing: "nested_offset".to_owned(),
            })?;
            Absmax::Nested {
                codes: part("absmax", Kind::Uint8, blocks)?,
                absmax: part("nested_absmax", Kind::Float, blocks.div_ceil(dynamic8::BLOCK))?,
                map: part("nested_quant_map", Kind::Float, dynamic8::BLOCK)?,
                offset: offset as f32,
            }
        } else {
            Absmax::Plain(part("absmax", Kind::Float, blocks)?)
        };
        let config = Config4 { code, block_size, double_quant: nested };
        Ok(Tensor4::from_parts(packed, absmax, config, shape.to_vec(), kind))
    }

    fn tensor8(&self, path: &ModulePath, shape: &[i64]) -> Result<Tensor8, QuantError> {
        let (name, scales) = (format!("{path}.weight"), format!("{path}.SCB"));
        let (codes, absmax) = (self.part(&name, &name)?, self.part(&name, &scales)?);
        let fits = |name: &str, what, actual: String, expected: String| {
            if actual == expected {
                Ok(())
            } else {
                Err(QuantError::Contradiction { name: name.to_owned(), what, actual, expected })
            }
        };
        fits(&name, "has kind", format!("{:?}", codes.kind()), "Int8".to_owned())?;
        fits(&name, "has shape", format!("{:?}", codes.size()), format!("{shape:?}"))?;
        fits(&scales, "has kind", format!("{:?}", absmax.kind()), "Float".to_owned())?;
        fits(&scales, "has length", absmax.numel().to_string(), shape[0].to_string())?;
        let format = format!("{path}.weight_format");
        if self.store.contains(&format) {
            let value = self.store.tensor(&format)?.f_reshape([-1i64]).op("reshape")?;
            let value = value.f_int64_value(&[0]).op("int64_value")?;
            // col32, turing and ampere were layouts of old GPUs; bitsandbytes refuses them too.
            fits(&format, "is", value.to_string(), "0".to_owned())?;
        }
        let absmax = absmax.f_reshape([-1i64]).op("reshape")?;
        Ok(Tensor8::from_parts(codes, absmax, Kind::Half))
    }

    /// A tensor that belongs to the quantised weight `name`.
    fn part(&self, name: &str, part: &str) -> Result<Tensor, QuantError> {
        if self.store.contains(part) {
            Ok(self.store.tensor(part)?)
        } else {
            Err(QuantError::Missing { name: name.to_owned(), missing: part.to_owned() })
        }
    }
}

/// A weight as it is stored.
enum Stored {
    Four(Tensor4),
    Eight(Tensor8),
    Plain,
}

impl StoredSource<'_> {
    /// The weight of the layer `path`, on the CPU.
    fn stored(&self, path: &ModulePath, shape: &[i64; 2]) -> Result<Stored, QuantError> {
        let name = format!("{path}.weight");
        for code in [Code4::Nf4, Code4::Fp4] {
            if self.store.contains(&state_name(&name, code)) {
                return Ok(Stored::Four(self.tensor4(&name, code, shape)?));
            }
        }
        let kind = self.store.info(&name).map(|info| info.kind).ok();
        if kind == Some(Kind::Int8) || self.store.contains(&format!("{path}.SCB")) {
            return Ok(Stored::Eight(self.tensor8(path, shape)?));
        }
        if kind == Some(Kind::Uint8) {
            let missing = format!("{name}.quant_state.bitsandbytes__nf4 (or __fp4)");
            return Err(QuantError::Missing { name, missing });
        }
        Ok(Stored::Plain)
    }
}

impl LinearSource for StoredSource<'_> {
    /// A quantised weight comes dequantised: in the kind that was asked for, or that it had before.
    fn tensor(&self, name: &str, shape: &[i64]) -> Result<Tensor, NnError> {
        if let (Some(path), &[rows, columns]) = (name.strip_suffix(".weight"), shape) {
            let dense = match self.stored(&ModulePath::new(path), &[rows, columns])? {
                Stored::Four(weight) => weight.dequantize(self.kind.unwrap_or(weight.kind()))?,
                Stored::Eight(weight) => weight.dequantize(self.kind.unwrap_or(Kind::Half))?,
                Stored::Plain => return self.plain.tensor(name, shape),
            };
            return Ok(dense.f_to(self.device).op("to")?);
        }
        self.plain.tensor(name, shape)
    }

    fn linear(
        &self,
        path: &ModulePath,
        in_features: i64,
        out_features: i64,
        bias: bool,
    ) -> Result<Box<dyn LinearOp>, NnError> {
        let bias_of = || bias.then(|| self.tensor(&format!("{path}.bias"), &[out_features])).transpose();
        Ok(match self.stored(path, &[out_features, in_features])? {
            Stored::Four(weight) => Box::new(QuantLinear::new(weight.to_device(self.device)?, bias_of()?)),
            Stored::Eight(weight) => Box::new(QuantLinear::new(weight.to_device(self.device)?, bias_of()?)),
            Stored::Plain => return self.plain.linear(path, in_features, out_features, bias),
        })
    }
}
