//! A decoding step whose shapes do not depend on the length of the texts, so that it can be recorded as a CUDA graph.

use nn_core::{Mode, NnError, TorchContext};
use tch::{Kind, Tensor};
use torch_ext::cuda::upload;

use crate::Llama;
use crate::cache::{LayerCache, StepPlaces};
use crate::rope::Rotation;

/// Numbers of positions that a step can cover; a longer text needs another step.
const SPANS: [usize; 6] = [256, 512, 1024, 2048, 4096, 8192];

/// Returns the positions that a step covers when `seen` are in use of `capacity`.
pub(crate) fn span(seen: usize, capacity: usize) -> usize {
    SPANS.into_iter().find(|&span| span >= seen).unwrap_or(capacity).min(capacity)
}

/// One token more for rows `0..n` of a session. Tokens and positions are read from the device.
#[derive(Debug)]
pub(crate) struct FixedStep {
    /// Ids and positions, `[2, n]` int64.
    inputs: Tensor,
    /// `0..n`.
    rows: Tensor,
    span: i64,
}

impl FixedStep {
    pub(crate) fn new(model: &Llama, rows: usize, span: usize) -> Result<Self, NnError> {
        let options = (Kind::Int64, model.device());
        let inputs = Tensor::f_zeros([2, rows as i64], options).op("zeros")?;
        let rows = Tensor::f_arange(rows as i64, options).op("arange")?;
        Ok(Self { inputs, rows, span: span as i64 })
    }

    /// Sets the next tokens and their positions, one for each row.
    pub(crate) fn set(&mut self, ids: &[i64], positions: &[i64]) -> Result<(), NnError> {
        let both = upload(&[ids, positions].concat(), self.inputs.device()).op("upload")?;
        self.inputs.f_copy_(&both.f_view([2, -1]).op("view")?).op("copy_")?;
        Ok(())
    }

    /// Puts the keys and values of the tokens that were set into `caches`; returns the logits of the next, `[n, V]`. Done twice,
    /// it is as if done once. `rotation`: of all positions.
    pub(crate) fn logits(
        &self,
        model: &Llama,
        caches: &mut [LayerCache],
        rotation: &Rotation,
    ) -> Result<Tensor, NnError> {
        let part = |index| self.inputs.f_select(0, index).op("select");
        let (ids, positions) = (part(0)?, part(1)?); // [n]
        let rows = ids.size()[0];
        let slots = Tensor::f_arange(self.span, (Kind::Int64, model.device())).op("arange")?;
        let unseen = slots.f_gt_tensor(&positions.f_view([rows, 1, 1, 1]).op("view")?).op("gt")?;
        let zeros = Tensor::f_zeros([rows, 1, 1, self.span], (model.kind(), model.device())).op("zeros")?;
        let places = StepPlaces {
            rows,
            seen: self.span,
            texts: Vec::new(),
            scattered: Some((self.rows.shallow_clone(), positions.shallow_clone())),
            in_order: true,
            mask: Some(zeros.f_masked_fill(&unseen, f64::NEG_INFINITY).op("masked_fill")?),
        };
        let rotation = rotation.select(&positions)?;
        let mut hidden = model.embed_at(&ids)?; // [n, C]
        for (index, cache) in caches.iter_mut().enumerate() {
            hidden = model.layer(index).forward(&hidden, &rotation, Mode::Eval, |q, k, v| {
                cache.append_and_attend(&places, q, k, v)
            })?;
        }
        model.logits(&model.final_norm(hidden)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_covers_what_is_seen_and_no_more_than_there_is() {
        let cases = [(1, 100, 100), (1, 300, 256), (256, 300, 256), (257, 300, 300), (9000, 10_000, 10_000)];
        for (seen, capacity, expected) in cases {
            assert_eq!(span(seen, capacity), expected, "{seen} {capacity}");
        }
    }
}
