//! A linear layer with an adapter.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nn_core::{LinearOp, Mode, NnError, TorchContext, mix_seed};
use tch::{Device, Kind, Tensor};

use crate::delta_weight;

/// `y = base(x) + scale · B A dropout(x)`.
#[derive(Debug)]
pub(crate) struct LoraLinear {
    pub(crate) base: Box<dyn LinearOp>,
    /// `[r, in]`.
    pub(crate) a: Tensor,
    /// `[out, r]`.
    pub(crate) b: Tensor,
    pub(crate) scale: f64,
    pub(crate) dropout: f64,
    /// Names this layer's dropout among the layers of a forward pass.
    pub(crate) stream: u64,
    pub(crate) enabled: Arc<AtomicBool>,
}

impl LoraLinear {
    /// Drops features from a seed that the pass and the layer determine, so that a repeated pass drops the same ones.
    fn dropped(&self, xs: Tensor, mode: Mode) -> Result<Tensor, NnError> {
        match mode {
            Mode::Train { seed } if self.dropout > 0.0 => {
                tch::manual_seed((mix_seed(seed, self.stream) >> 1) as i64);
                Ok(xs.f_dropout(self.dropout, true).op("dropout")?)
            }
            _ => Ok(xs),
        }
    }
}

impl LinearOp for LoraLinear {
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
        let base = self.base.forward(xs, mode)?; // [.., out]
        if !self.enabled.load(Ordering::Relaxed) {
            return Ok(base);
        }
        let xs = self.dropped(xs.f_to_kind(self.a.kind()).op("to_kind")?, mode)?;
        let low = xs.f_linear(&self.a, None::<&Tensor>).op("lora_A")?; // [.., r]
        let low = low.f_mul_scalar(self.scale).op("mul_scalar")?;
        if base.kind() == low.kind() && base.dim() == 2 {
            let b = self.b.f_tr().op("tr")?;
            return Ok(base.f_addmm(&low, &b).op("lora_B")?);
        }
        let delta = low.f_linear(&self.b, None::<&Tensor>).op("lora_B")?; // [.., out]
        Ok(base.f_add(&delta.f_to_kind(base.kind()).op("to_kind")?).op("add")?)
    }

    fn dense_weight(&self, kind: Kind) -> Result<Tensor, NnError> {
        let base = self.base.dense_weight(kind)?;
        if !self.enabled.load(Ordering::Relaxed) {
            return Ok(base);
        }
        let delta = delta_weight(&self.a, &self.b, self.scale)?;
        Ok(base.f_add(&delta.f_to_kind(kind).op("to_kind")?).op("add")?)
    }
}
