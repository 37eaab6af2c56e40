//! Writing a quantised checkpoint.

use std::collections::BTreeMap;
use std::path::Path;

use nn_core::TorchContext;
use tch::{Device, Tensor};
use weights::{SafetensorsWriter, TensorSpec, pt_metadata};

use crate::{QuantError, Quantization};

/// The parts of one quantised weight, as a file names them.
struct Parts {
    of: String,
    tensors: BTreeMap<String, Tensor>,
}

/// Writes `tensors` (name, kind and shape of each) to the safetensors file `path`, those that `is_linear` names
/// quantised, the others as they are; `produce` is asked for one tensor at a time, and for those that are quantised twice.
/// The file appears complete or not at all. It takes a `quantization_config` in `config.json` beside it for transformers to
/// load it.
///
/// # Errors
/// Whatever `produce` returns; [`QuantError::NotFinite`] for a weight with infinities or NaN; [`QuantError::Weights`] when
/// the file cannot be written.
pub fn write_quantized<E: From<QuantError>>(
    path: &Path,
    tensors: &[TensorSpec],
    quantization: Quantization,
    is_linear: impl Fn(&str) -> bool,
    mut produce: impl FnMut(&TensorSpec) -> Result<Tensor, E>,
) -> Result<(), E> {
    let mut specs = Vec::new();
    let mut origin = BTreeMap::new();
    for tensor in tensors {
        let parts = if is_linear(&tensor.name) { quantization.parts(tensor) } else { vec![tensor.clone()] };
        for part in parts {
            origin.insert(part.name.clone(), tensor);
            specs.push(part);
        }
    }
    let writer = SafetensorsWriter::new(path, specs, &pt_metadata()).map_err(QuantError::from)?;
    let mut last: Option<Parts> = None;
    writer
        .write(|spec| {
            let of = origin[&spec.name];
            if !is_linear(&of.name) {
                return produce(of).map_err(Wrapped::Callers);
            }
            if last.as_ref().is_none_or(|parts| parts.of != of.name) {
                let weight = produce(of).map_err(Wrapped::Callers)?;
                let weight =
                    weight.f_to(Device::Cpu).op("to").map_err(QuantError::from).map_err(Wrapped::Ours)?;
                let weight = quantization.quantize_finite(&of.name, &weight).map_err(Wrapped::Ours)?;
                let tensors = weight.parts(&of.name).map_err(Wrapped::Ours)?.into_iter().collect();
                last = Some(Parts { of: of.name.clone(), tensors });
            }
            let part = last.as_ref().and_then(|parts| parts.tensors.get(&spec.name));
            part.map(Tensor::shallow_clone).ok_or_else(|| {
                Wrapped::Ours(QuantError::Missing { name: of.name.clone(), missing: spec.name.clone() })
            })
        })
        .map_err(|error| match error {
            Wrapped::Callers(error) => error,
            Wrapped::Ours(error) => error.into(),
        })
}

/// An error of the caller's closure or of quantising, on its way through the writer.
enum Wrapped<E> {
    Callers(E),
    Ours(QuantError),
}

impl<E> From<weights::WeightsError> for Wrapped<E> {
    fn from(error: weights::WeightsError) -> Self {
        Self::Ours(error.into())
    }
}
