//! The gradients of one step.

use nn_core::TorchContext;
use process_group::ProcessGroup;
use tch::{Kind, Tensor, no_grad_guard};

use crate::TrainError;
use crate::pass::cat;

/// Elements that are in float64 at a time.
const BLOCK_ELEMENTS: i64 = 1 << 20;

/// The gradients of one step: one flat tensor for each bucket of parameters.
#[derive(Debug)]
pub struct Gradients(pub(super) Vec<Tensor>);

impl Gradients {
    /// Computes the Euclidean norm over all gradients: float64, `[1]`, on the device of the first, not yet waited for.
    ///
    /// The sum is float64 throughout: libtorch's own norm of a flat float32 tensor loses digits with its length.
    ///
    /// # Errors
    /// [`TrainError::Torch`] when libtorch refuses.
    pub fn norm(&self) -> Result<Tensor, TrainError> {
        let _guard = no_grad_guard();
        let mut norms = Vec::new();
        for flat in &self.0 {
            for block in flat.f_split(BLOCK_ELEMENTS, 0).op("split")? {
                let norm = block.f_to_kind(Kind::Double).op("to_kind")?.f_norm().op("norm")?;
                norms.push(norm.f_reshape([1]).op("reshape")?);
            }
        }
        Ok(cat(&norms)?.f_norm().op("norm")?.f_reshape([1]).op("reshape")?)
    }

    /// Sums all gradients over the processes of `group`.
    ///
    /// # Errors
    /// [`TrainError::Group`] when another process has failed.
    pub(crate) fn all_reduce(&mut self, group: &ProcessGroup) -> Result<(), TrainError> {
        let _guard = no_grad_guard();
        Ok(self.0.iter_mut().try_for_each(|flat| group.all_reduce(flat))?)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A float32 mantissa ends at 6e-8; sums in it were off by up to 3e-3 here.
    const SAME: f64 = 1e-9;

    fn norm(parts: Vec<Tensor>) -> f64 {
        Gradients(parts).norm().unwrap().double_value(&[0])
    }

    #[test]
    fn the_norm_of_50_million_elements_is_that_of_float64() {
        // One number, seen so often: it takes no memory.
        let flat = Tensor::from_slice(&[0.1_f32]).expand([50_000_000], false);
        let expected = f64::from(0.1_f32) * 5e7_f64.sqrt();
        let actual = norm(vec![flat]);
        assert!((actual - expected).abs() < SAME * expected, "{actual} {expected}");
    }

    #[test]
    fn the_norm_of_random_gradients_is_that_of_float64() {
        tch::manual_seed(5);
        let flat = Tensor::randn([3 << 20], tch::kind::FLOAT_CPU);
        let values = Vec::<f32>::try_from(&flat).unwrap();
        let expected = values.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
        let actual = norm(vec![flat]);
        assert!((actual - expected).abs() < SAME * expected, "{actual} {expected}");
    }

    #[test]
    fn a_gradient_in_several_buckets_has_the_norm_of_one() {
        let flat = Tensor::arange(1000, tch::kind::FLOAT_CPU);
        let parts = flat.split_with_sizes([300, 700], 0);
        let expected = (0..1000).map(|x| f64::from(x * x)).sum::<f64>().sqrt();
        assert!((norm(vec![flat]) - expected).abs() < SAME * expected);
        assert!((norm(parts) - expected).abs() < SAME * expected);
    }
}
