//! Checkpoints that are quantised already, in bitsandbytes' serialised form.

use nn_core::{LinearOp, LinearSource, ModulePath, NnError, TorchContext};
use tch::{Device, Kind, Tensor};
use weights::{CheckpointSource, TensorStore};

use crate::quantization::names;
use crate::schemes::SCHEMES;
use crate::{QuantError, QuantLinear, QuantWeight};

/// Returns whether a checkpoint holds quantised weights.
pub fn is_quantized(store: &TensorStore) -> bool {
    store.names().any(|name| SCHEMES.iter().any(|scheme| scheme.owns(name)))
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
    /// Makes a source of `store`'s tensors on `device`; what is not quantised, in `kind`.
    pub fn new(store: &'a TensorStore, device: Device, kind: Option<Kind>) -> Self {
        Self { store, plain: CheckpointSource::new(store, device, kind), device, kind }
    }

    /// Returns the weight of the layer `path`, on the CPU; `None` when it is stored as it is.
    fn stored(&self, path: &ModulePath, shape: [i64; 2]) -> Result<Option<Box<dyn QuantWeight>>, QuantError> {
        for scheme in SCHEMES {
            if let Some(weight) = scheme.open(self.store, path, shape)? {
                return Ok(Some(weight));
            }
        }
        let name = format!("{path}.weight");
        if self.store.info(&name).is_ok_and(|info| info.kind == Kind::Uint8) {
            let types = names(|scheme| scheme.bits() == 4, " or __", "");
            let missing = format!("{name}.quant_state.bitsandbytes__{types}");
            return Err(QuantError::Missing { name, missing });
        }
        Ok(None)
    }
}

impl LinearSource for StoredSource<'_> {
    /// Dequantises a quantised weight: to the kind that was asked for, or that it had before.
    fn tensor(&self, name: &str, shape: &[i64]) -> Result<Tensor, NnError> {
        if let (Some(path), &[rows, columns]) = (name.strip_suffix(".weight"), shape)
            && let Some(weight) = self.stored(&ModulePath::new(path), [rows, columns])?
        {
            let dense = weight.dequantize(self.kind.unwrap_or(weight.kind()))?;
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
        match self.stored(path, [out_features, in_features])? {
            Some(weight) => {
                let bias = self.bias(path, out_features, bias)?;
                Ok(Box::new(QuantLinear::new(weight.to_device(self.device)?, bias)))
            }
            None => self.plain.linear(path, in_features, out_features, bias),
        }
    }

    fn is_quantized(&self) -> bool {
        is_quantized(self.store)
    }
}
