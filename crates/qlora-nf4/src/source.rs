//! Quantising a model while it is loaded.

use std::cell::Cell;
use std::time::Instant;

use nn_core::{LinearOp, LinearSource, ModulePath, NnError, TorchContext};
use tch::{Device, Kind, Tensor};

use crate::Quantization;

/// A source whose linear layers are quantised one by one as the model asks for them. The rest (embeddings, norms, head)
/// comes as it is, in a kind of choice. The whole model never exists in full precision: besides the result, one tensor is
/// in memory, or none where the source maps a file.
#[derive(Debug)]
pub struct QuantizingSource<S> {
    source: S,
    quantization: Quantization,
    device: Device,
    kind: Kind,
    seconds: Cell<f64>,
}

impl<S: LinearSource> QuantizingSource<S> {
    /// Wraps `source`, which should give tensors on the CPU in their stored kind. Layers go to `device`; other tensors
    /// too, in `kind`.
    pub fn new(source: S, quantization: Quantization, device: Device, kind: Kind) -> Self {
        Self { source, quantization, device, kind, seconds: Cell::new(0.0) }
    }

    /// Returns the seconds spent on quantising so far. Where the source maps a file, reading its pages is part of it.
    pub fn seconds(&self) -> f64 {
        self.seconds.get()
    }
}

impl<S: LinearSource> LinearSource for QuantizingSource<S> {
    fn tensor(&self, name: &str, shape: &[i64]) -> Result<Tensor, NnError> {
        let tensor = self.source.tensor(name, shape)?;
        Ok(tensor.f_to_device_(self.device, self.kind, false, false).op("to")?)
    }

    fn linear(
        &self,
        path: &ModulePath,
        in_features: i64,
        out_features: i64,
        bias: bool,
    ) -> Result<Box<dyn LinearOp>, NnError> {
        let name = format!("{path}.weight");
        let weight = self.source.tensor(&name, &[out_features, in_features])?;
        let bias = self.bias(path, out_features, bias)?;
        let begun = Instant::now();
        let layer = self.quantization.linear(&name, &weight, bias, self.device)?;
        self.seconds.set(self.seconds.get() + begun.elapsed().as_secs_f64());
        Ok(layer)
    }

    fn is_quantized(&self) -> bool {
        true
    }
}
