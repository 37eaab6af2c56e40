//! Linear layers with a quantised weight.

use nn_core::{LinearOp, Mode, NnError, SharedLeaves, TorchContext};
use tch::{Device, Kind, Tensor};

use crate::QuantWeight;
use crate::product::{product, transposed_product};

/// A frozen layer `x Wᵀ + b` whose weight is quantised.
///
/// The forward pass dequantises what it needs and forgets it; the backward pass dequantises again (QLoRA, §3). Nothing is
/// kept in between, not even the inputs, since the weight has no gradient.
#[derive(Debug)]
pub struct QuantLinear {
    weight: Box<dyn QuantWeight>,
    bias: Option<Tensor>,
}

impl QuantLinear {
    /// Takes a weight, `[out, in]`, and a bias, `[out]`.
    pub fn new(weight: Box<dyn QuantWeight>, bias: Option<Tensor>) -> Self {
        Self { weight, bias }
    }
}

impl LinearOp for QuantLinear {
    fn in_features(&self) -> i64 {
        self.weight.in_features()
    }

    fn out_features(&self) -> i64 {
        self.weight.out_features()
    }

    fn device(&self) -> Device {
        self.weight.device()
    }

    fn forward(&self, xs: &Tensor, _: Mode) -> Result<Tensor, NnError> {
        let ys = if xs.requires_grad() {
            let (ahead, back) = (self.weight.share(), self.weight.share());
            torch_ext::custom(
                xs,
                move |xs| product(&*ahead, xs),
                move |grads| transposed_product(&*back, grads),
            )
            .map_err(|error| NnError::Extension(error.into()))?
        } else {
            product(&*self.weight, xs)?
        };
        match &self.bias {
            None => Ok(ys),
            Some(bias) => {
                let bias = bias.f_to_kind(ys.kind()).op("to_kind")?;
                Ok(ys.f_add(&bias).op("add")?)
            }
        }
    }

    fn share(&self, leaves: &SharedLeaves) -> Box<dyn LinearOp> {
        let bias = self.bias.as_ref().map(|bias| leaves.share(bias));
        Box::new(Self { weight: self.weight.share(), bias })
    }

    fn dense_weight(&self, kind: Kind) -> Result<Tensor, NnError> {
        Ok(self.weight.dequantize(kind)?)
    }
}
