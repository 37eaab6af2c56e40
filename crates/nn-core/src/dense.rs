//! The ordinary linear layer.

use tch::{Device, Kind, Tensor};

use crate::{LinearOp, Mode, NnError, SharedLeaves, TorchContext};

/// A dense layer `x Wᵀ + b`. Whether it trains is a property of the tensors it is given.
#[derive(Debug)]
pub struct DenseLinear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl DenseLinear {
    /// Takes a weight of shape `[out_features, in_features]` and a bias of shape `[out_features]`.
    pub fn new(weight: Tensor, bias: Option<Tensor>) -> Self {
        Self { weight, bias }
    }
}

impl LinearOp for DenseLinear {
    fn in_features(&self) -> i64 {
        self.weight.size()[1]
    }

    fn out_features(&self) -> i64 {
        self.weight.size()[0]
    }

    fn device(&self) -> Device {
        self.weight.device()
    }

    fn forward(&self, xs: &Tensor, _: Mode) -> Result<Tensor, NnError> {
        Ok(kernels::linear(xs, &self.weight, self.bias.as_ref()).op("linear")?)
    }

    fn dense_weight(&self, kind: Kind) -> Result<Tensor, NnError> {
        Ok(self.weight.f_to_kind(kind).op("to_kind")?)
    }

    fn share(&self, leaves: &SharedLeaves) -> Box<dyn LinearOp> {
        let bias = self.bias.as_ref().map(|bias| leaves.share(bias));
        Box::new(Self { weight: leaves.share(&self.weight), bias })
    }
}
