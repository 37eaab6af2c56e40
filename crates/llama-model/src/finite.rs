//! The search for weights that are no numbers.

use nn_core::{LinearSlot, Mode, ModulePath, NnError, TorchContext, all_finite};
use tch::{Kind, Tensor};

use crate::Llama;
use crate::modules::{EMBEDDING, FINAL_NORM, HEAD};

impl Llama {
    /// Finds the first weight that holds NaN or infinity, in the order of the model; a layer with an adapter counts with it. Reads
    /// every weight up to there, dequantised one at a time where it is quantised.
    ///
    /// # Errors
    /// [`NnError`] when a weight cannot be dequantised.
    pub fn find_not_finite(&self) -> Result<Option<String>, NnError> {
        tch::no_grad(|| {
            let weight = |path: &str| Some(format!("{path}.weight"));
            if !all_finite(&self.embedding_weight()?)? {
                return Ok(weight(EMBEDDING.path));
            }
            for index in 0..self.config().num_hidden_layers {
                let mut layer = self.layer(index);
                for (path, norm) in layer.norms() {
                    if !all_finite(norm)? {
                        return Ok(weight(path.as_str()));
                    }
                }
                let mut found = Ok(None);
                layer.visit_linears_mut(&mut |path, slot| {
                    if matches!(found, Ok(None)) {
                        found = part_not_finite(path, slot, self.kind());
                    }
                });
                if let Some(name) = found? {
                    return Ok(Some(name));
                }
            }
            if !all_finite(self.norm_weight())? {
                return Ok(weight(FINAL_NORM.path));
            }
            Ok(if all_finite(&self.head_weight()?)? { None } else { weight(HEAD.path) })
        })
    }
}

/// Names the part of a linear layer that is not finite: its weight, or its bias, which is what the layer makes of zeros.
fn part_not_finite(path: &ModulePath, slot: &LinearSlot, kind: Kind) -> Result<Option<String>, NnError> {
    let layer = slot.get();
    if !all_finite(&layer.dense_weight(kind)?)? {
        return Ok(Some(format!("{path}.weight")));
    }
    let zeros = Tensor::f_zeros([1, layer.in_features()], (kind, layer.device())).op("zeros")?;
    let bias = layer.forward(&zeros, Mode::Eval)?;
    Ok((!all_finite(&bias)?).then(|| format!("{path}.bias")))
}
