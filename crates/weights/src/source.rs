//! A checkpoint as the source of a model's layers.

use nn_core::{LinearSource, NnError, TorchContext};
use tch::{Device, Kind, Tensor};

use crate::TensorStore;

/// Gives a model the tensors of a checkpoint, on a device and in a kind of choice.
///
/// Nothing is copied where device and kind are those of the file: on the CPU, in the stored kind.
#[derive(Debug)]
pub struct CheckpointSource<'a> {
    store: &'a TensorStore,
    device: Device,
    kind: Option<Kind>,
}

impl<'a> CheckpointSource<'a> {
    /// Makes a source of `store`'s tensors on `device`. Floating-point tensors are converted to `kind`; `None` keeps
    /// the stored one.
    pub fn new(store: &'a TensorStore, device: Device, kind: Option<Kind>) -> Self {
        Self { store, device, kind }
    }
}

impl LinearSource for CheckpointSource<'_> {
    fn tensor(&self, name: &str, shape: &[i64]) -> Result<Tensor, NnError> {
        let failed = |source| NnError::Source { name: name.to_owned(), source: Box::new(source) };
        let info = self.store.info(name).map_err(failed)?;
        if info.shape != shape {
            return Err(NnError::Shape {
                name: name.to_owned(),
                actual: info.shape,
                expected: shape.to_vec(),
            });
        }
        let tensor = self.store.tensor(name).map_err(failed)?;
        let is_float = tensor.f_is_floating_point().op("is_floating_point")?;
        let kind = self.kind.filter(|_| is_float).unwrap_or(info.kind);
        Ok(tensor.f_to_device_(self.device, kind, false, false).op("to")?)
    }
}
