//! The head of the model and its loss.

use std::sync::{Arc, Mutex};

use nn_core::{LinearSlot, Mode, NnError, TorchContext, mix_seed};
use tch::{Kind, Reduction, Tensor};
use torch_ext::{checkpoint, linear_cross_entropy, logits_at_once};

use crate::lock::lock;
use crate::on_each::{indices, moved};

/// The linear layer from hidden states to logits.
// Shared with the closures that activation checkpointing runs in the backward pass, on whichever thread that is.
#[derive(Debug)]
pub(crate) struct Head(pub(crate) Arc<Mutex<LinearSlot>>);

impl Head {
    pub(crate) fn new(slot: LinearSlot) -> Self {
        Self(Arc::new(Mutex::new(slot)))
    }

    /// Maps `[.., C]` to `[.., V]`, float32.
    pub(crate) fn logits(&self, hidden: &Tensor) -> Result<Tensor, NnError> {
        let slot = lock(&self.0);
        let hidden = moved(hidden.shallow_clone(), slot.get().device())?;
        let logits = slot.get().forward(&hidden, Mode::Eval)?;
        Ok(logits.f_to_kind(Kind::Float).op("to_kind")?)
    }

    /// Computes the sum of the cross-entropies of the logits of `hidden`, `[N, C]`, with `labels`, `N` of them: a scalar in
    /// float32. Logits are not kept.
    pub(crate) fn loss_sum(&self, hidden: Tensor, labels: &[i64], mode: Mode) -> Result<Tensor, NnError> {
        let slot = lock(&self.0);
        let hidden = moved(hidden, slot.get().device())?;
        let labels = indices(labels, hidden.device())?; // [N]
        if !slot.is_wrapped() {
            let weight = slot.get().dense_weight(hidden.kind())?;
            return linear_cross_entropy(&hidden, &weight, &labels)
                .map_err(|error| NnError::Extension(error.into()));
        }
        let rows = (logits_at_once(hidden.device()) / slot.get().out_features().max(1)).max(1);
        drop(slot);
        let mut sum = Tensor::f_zeros([1i64; 0], (Kind::Float, hidden.device())).op("zeros")?;
        let count = hidden.size()[0];
        for (index, start) in (0..count).step_by(rows as usize).enumerate() {
            let part = |xs: &Tensor| xs.f_narrow(0, start, rows.min(count - start)).op("narrow");
            let (head, labels) = (Arc::clone(&self.0), part(&labels)?);
            // Dropout of other rows is other dropout.
            let mode = match mode {
                Mode::Train { seed } => Mode::Train { seed: mix_seed(seed, index as u64) },
                Mode::Eval => Mode::Eval,
            };
            let loss = checkpoint(&part(&hidden)?, move |hidden: &Tensor| {
                let logits = lock(&head).get().forward(hidden, mode)?;
                let logits = logits.f_to_kind(Kind::Float).op("to_kind")?; // [rows, V]
                let loss = logits.f_cross_entropy_loss(&labels, None::<&Tensor>, Reduction::Sum, -100, 0.0);
                Ok::<_, NnError>(loss.op("cross_entropy")?)
            })
            .map_err(|error| NnError::Extension(error.into()))?;
            sum = sum.f_add(&loss).op("add")?;
        }
        Ok(sum)
    }
}
