//! The gradients of one step.

use nn_core::TorchContext;
use tch::{Kind, Tensor, no_grad_guard};

use crate::TrainError;

/// The gradients of one step: one flat tensor for each bucket of parameters.
#[derive(Debug)]
pub struct Gradients(pub(super) Vec<Tensor>);

impl Gradients {
    /// Computes the Euclidean norm over all gradients: float64, `[1]`, on their device, not yet waited for.
    ///
    /// # Errors
    /// [`TrainError::Torch`] when libtorch refuses.
    pub fn norm(&self) -> Result<Tensor, TrainError> {
        let norms = self.0.iter().map(|flat| flat.f_norm().op("norm"));
        let norms = Tensor::f_stack(&norms.collect::<Result<Vec<_>, _>>()?, 0).op("stack")?;
        let norms = norms.f_to_kind(Kind::Double).op("to_kind")?;
        Ok(norms.f_norm().op("norm")?.f_reshape([1]).op("reshape")?)
    }

    /// Scales all gradients by `factor`.
    ///
    /// # Errors
    /// [`TrainError::Torch`] when libtorch refuses.
    pub fn scale(&mut self, factor: f64) -> Result<(), TrainError> {
        let _guard = no_grad_guard();
        for flat in &mut self.0 {
            let _ = flat.f_mul_scalar_(factor).op("mul_")?;
        }
        Ok(())
    }
}
