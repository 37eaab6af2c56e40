//! A model of random weights.

use nn_core::{LinearSource, NnError, TorchContext, name_seed};
use tch::{Device, Kind, Tensor};
use torch_ext::Generator;

/// Gives fresh weights as transformers initialises LLaMA: normal with standard deviation `initializer_range`, norms one,
/// biases zero. Each tensor depends on the seed and its own name only.
#[derive(Debug, Clone)]
pub struct RandomSource {
    /// Seed of the whole model.
    pub seed: u64,
    /// Standard deviation of the weights.
    pub std: f64,
    /// Device of the tensors.
    pub device: Device,
    /// Their precision.
    pub kind: Kind,
}

impl LinearSource for RandomSource {
    fn tensor(&self, name: &str, shape: &[i64]) -> Result<Tensor, NnError> {
        let options = (self.kind, self.device);
        if name.ends_with("norm.weight") {
            return Ok(Tensor::f_ones(shape, options).op("ones")?);
        }
        let tensor = Tensor::f_zeros(shape, options).op("zeros")?;
        if name.rsplit('.').next() == Some("bias") {
            return Ok(tensor);
        }
        let mut tensor = tensor;
        let mut generator = Generator::new(self.device, name_seed(self.seed, name) >> 1).op("generator")?;
        generator.normal_(&mut tensor, 0.0, self.std).op("normal_")?;
        Ok(tensor)
    }
}
