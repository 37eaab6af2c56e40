//! A linear layer with an adapter.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kernels::Dropout;
use nn_core::{LinearOp, Mode, NnError, SharedLeaves, mix_seed};
use tch::{Device, Kind, Tensor};

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
    /// Returns the dropout of a pass, with a seed that the pass and the layer determine, so that a repeated pass drops the same.
    fn dropout_of(&self, mode: Mode) -> Option<Dropout> {
        match mode {
            Mode::Train { seed } if self.dropout > 0.0 => {
                Some(Dropout { p: self.dropout, seed: mix_seed(seed, self.stream) })
            }
            _ => None,
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
        let dropout = self.dropout_of(mode);
        let pass = Pass { base_out, xs, dropout, base: self.base.as_ref(), cache: &self.cache };
        self.layer.variant.forward(&self.layer.tensors, pass)
    }

    fn share(&self, leaves: &SharedLeaves) -> Box<dyn LinearOp> {
        Box::new(Self {
            base: self.base.share(leaves),
            layer: self.layer.share(leaves),
            dropout: self.dropout,
            stream: self.stream,
            enabled: Arc::clone(&self.enabled),
            cache: WeightCache::default(),
        })
    }

    fn dense_weight(&self, kind: Kind) -> Result<Tensor, NnError> {
        let base = self.base.dense_weight(kind)?;
        if self.enabled.load(Ordering::Relaxed) { self.layer.adapted(&base) } else { Ok(base) }
    }
}
