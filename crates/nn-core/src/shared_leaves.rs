//! Parameters of a thread of its own.

use tch::Tensor;

/// Leaves that share the values of some parameters and have gradients of their own, so that several threads may run backward
/// passes at the same time.
#[derive(Debug)]
pub struct SharedLeaves {
    /// Parameters, each with its leaf.
    pairs: Vec<(Tensor, Tensor)>,
}

impl SharedLeaves {
    /// Makes a leaf for each of `parameters`.
    pub fn of<'a>(parameters: impl IntoIterator<Item = &'a Tensor>) -> Self {
        let pair = |parameter: &Tensor| {
            let leaf = parameter.detach().set_requires_grad(parameter.requires_grad());
            (parameter.shallow_clone(), leaf)
        };
        Self { pairs: parameters.into_iter().map(pair).collect() }
    }

    /// Returns another handle on `tensor`: the leaf of a parameter, or the frozen tensor itself.
    pub fn share(&self, tensor: &Tensor) -> Tensor {
        let is_it = |parameter: &Tensor| {
            parameter.data_ptr() == tensor.data_ptr() && parameter.size() == tensor.size()
        };
        let leaf = self.pairs.iter().find(|(parameter, _)| tensor.requires_grad() && is_it(parameter));
        leaf.map_or_else(|| tensor.shallow_clone(), |(_, leaf)| leaf.shallow_clone())
    }

    /// Returns the leaves, in the order of the parameters.
    pub fn leaves(&self) -> impl Iterator<Item = &Tensor> {
        self.pairs.iter().map(|(_, leaf)| leaf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn a_leaf_shares_the_value_and_not_the_gradient() {
        let parameter = Tensor::ones([3], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let frozen = Tensor::ones([3], (Kind::Float, Device::Cpu)) * 2;
        let leaves = SharedLeaves::of([&parameter]);
        let (leaf, same) = (leaves.share(&parameter), leaves.share(&frozen));
        assert_eq!((leaf.data_ptr(), same.data_ptr()), (parameter.data_ptr(), frozen.data_ptr()));
        (&leaf * &same).sum(Kind::Float).backward();
        assert!(!parameter.grad().defined());
        assert_eq!(leaves.leaves().next().map(Tensor::grad), Some(frozen));
    }
}
