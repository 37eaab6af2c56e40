//! A source whose tensors are parameters.

use std::cell::RefCell;

use nn_core::{LinearSource, NnError, TorchContext};
use tch::{Kind, Tensor};

/// Turns every tensor of another source into a parameter, for training all of a model: a leaf of its own memory that
/// asks for gradients. A tensor asked for twice is one parameter.
#[derive(Debug)]
pub struct ParameterSource<S> {
    source: S,
    kind: Kind,
    parameters: RefCell<Vec<(String, Tensor)>>,
}

impl<S: LinearSource> ParameterSource<S> {
    /// Wraps `source`; parameters are of `kind` (float32 unless memory is short: small updates are lost in 16 bits).
    pub fn new(source: S, kind: Kind) -> Self {
        Self { source, kind, parameters: RefCell::default() }
    }

    /// Returns the parameters made so far, in the order the model asked for them, by their names in the checkpoint.
    /// They share memory with the model's.
    pub fn parameters(&self) -> Vec<(String, Tensor)> {
        self.parameters.borrow().iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect()
    }

    /// Ends the source and returns its parameters, once the model is complete.
    pub fn into_parameters(self) -> Vec<(String, Tensor)> {
        self.parameters.into_inner()
    }
}

impl<S: LinearSource> LinearSource for ParameterSource<S> {
    fn tensor(&self, name: &str, shape: &[i64]) -> Result<Tensor, NnError> {
        if let Some((_, parameter)) = self.parameters.borrow().iter().find(|(known, _)| known == name) {
            return Ok(parameter.shallow_clone());
        }
        let tensor = self.source.tensor(name, shape)?;
        // The copy is forced: the source may give a view of a mapped file.
        let owned = tensor.f_detach().op("detach")?.f_to_dtype(self.kind, false, true).op("to")?;
        let parameter =
            owned.f_contiguous().op("contiguous")?.f_set_requires_grad(true).op("set_requires_grad")?;
        self.parameters.borrow_mut().push((name.to_owned(), parameter.shallow_clone()));
        Ok(parameter)
    }
}
