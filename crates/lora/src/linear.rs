//! A linear layer with an adapter.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nn_core::{LinearOp, Mode, NnError, TorchContext, mix_seed};
use tch::{Device, Kind, Tensor};
use torch_ext::Generator;

use crate::layer::AdapterLayer;
use crate::variant::{Pass, WeightCache};

/// A layer and what an adapter makes of it.
#[derive(Debug)]
pub(crate) struct AdaptedLinear {
    pub(crate) base: Box<dyn LinearOp>,
    pub(crate) layer: AdapterLayer,
    pub(crate) dropout: f64,
    /// Names this layer's dropout among the layers of a forward pass.
    pub(crate) stream: u64,
    pub(crate) enabled: Arc<AtomicBool>,
    pub(crate) cache: WeightCache,
}

impl AdaptedLinear {
    /// Drops features from a seed that the pass and the layer determine, so that a repeated pass drops the same ones;
    /// tells whether it did.
    fn dropped(&self, xs: Tensor, mode: Mode) -> Result<(Tensor, bool), NnError> {
        match mode {
            Mode::Train { seed } if self.dropout > 0.0 => {
                let seed = mix_seed(seed, self.stream) >> 1;
                let mut generator = Generator::new(xs.device(), seed).op("generator")?;
                Ok((generator.dropout(&xs, self.dropout).op("dropout")?, true))
            }
            _ => Ok((xs, false)),
        }
    }
}

impl LinearOp for AdaptedLinear {
    fn in_features(&self) -> i64 {
        self.base.in_features()
    }

    fn out_features(&self) -> i64 {
        self.base.out_features()
    }

    fn device(&self) -> Device {
        self.base.device()
    }

    fn forward(&self, xs: &Tensor, mode: Mode) -> Result<Tensor, NnError> {
        let base_out = self.base.forward(xs, mode)?; // [.., out]
        if !self.enabled.load(Ordering::Relaxed) {
            return Ok(base_out);
        }
        let xs = xs.f_to_kind(self.layer.a().kind()).op("to_kind")?;
        let (xs, dropped) = self.dropped(xs, mode)?;
        let pass = Pass { base_out, xs, dropped, base: self.base.as_ref(), cache: &self.cache };
        self.layer.variant.forward(&self.layer.tensors, pass)
    }

    fn dense_weight(&self, kind: Kind) -> Result<Tensor, NnError> {
        let base = self.base.dense_weight(kind)?;
        if self.enabled.load(Ordering::Relaxed) { self.layer.adapted(&base) } else { Ok(base) }
    }
}
