//! The weights that adapters are added to.

use nn_core::{LinearSource, NnError};
use tch::Tensor;

/// The tensors of a base model.
pub struct BaseTensors<'a> {
    /// Their source, on the CPU.
    pub source: &'a dyn LinearSource,
    /// Function of name and weight that is applied to each before a delta is added: the identity, or there and back through
    /// the quantisation that the adapter was trained on.
    pub prepare: &'a dyn Fn(&str, Tensor) -> Result<Tensor, NnError>,
}

impl std::fmt::Debug for BaseTensors<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("BaseTensors")
    }
}
