//! Writing a quantised checkpoint.

use std::collections::BTreeMap;
use std::path::Path;

use nn_core::TorchContext;
use tch::{Device, Kind, Tensor};
use torch_ext::dynamic8;
use weights::{SafetensorsWriter, TensorSpec, TensorStore, pt_metadata};

use crate::stored::{QuantState, dtype, state_name};
use crate::{Absmax, QuantError, Quantization, Tensor4, Tensor8};

/// Bytes of a state's JSON in a file: its length is decided before its numbers are known, and blanks fill it up.
const STATE_BYTES: usize = 320;

/// Whether a checkpoint holds weights that bitsandbytes has quantised.
pub fn is_quantized(store: &TensorStore) -> bool {
    store
        .names()
        .any(|name| name.contains(".quant_state.bitsandbytes__") || name.rsplit('.').next() == Some("SCB"))
}

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
        let parts =
            if is_linear(&tensor.name) { part_specs(tensor, quantization) } else { vec![tensor.clone()] };
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
                let tensors = parts(&of.name, &weight, quantization).map_err(Wrapped::Ours)?;
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

/// An error of the caller's closure or of ours, on the way through the writer.
enum Wrapped<E> {
    Callers(E),
    Ours(QuantError),
}

impl<E> From<weights::WeightsError> for Wrapped<E> {
    fn from(error: weights::WeightsError) -> Self {
        Self::Ours(error.into())
    }
}

fn scb_name(name: &str, suffix: &str) -> String {
    format!("{}.{suffix}", name.strip_suffix(".weight").unwrap_or(name))
}

fn part_specs(tensor: &TensorSpec, quantization: Quantization) -> Vec<TensorSpec> {
    let name = &tensor.name;
    let spec = |name: String, kind, shape: Vec<i64>| TensorSpec { name, kind, shape };
    let numbers = tensor.shape.iter().product::<i64>();
    let Quantization::Four(config) = quantization else {
        let rows = tensor.shape.first().copied().unwrap_or_default();
        return vec![
            spec(name.clone(), Kind::Int8, tensor.shape.clone()),
            spec(scb_name(name, "SCB"), Kind::Float, vec![rows]),
            spec(scb_name(name, "weight_format"), Kind::Uint8, vec![]),
        ];
    };
    let blocks = (numbers as usize).div_ceil(config.block_size);
    let mut specs = vec![
        spec(name.clone(), Kind::Uint8, vec![(numbers + 1) / 2, 1]),
        spec(format!("{name}.quant_map"), Kind::Float, vec![16]),
        spec(state_name(name, config.code), Kind::Uint8, vec![STATE_BYTES as i64]),
    ];
    let absmax = format!("{name}.absmax");
    if config.double_quant {
        let nested = blocks.div_ceil(dynamic8::BLOCK) as i64;
        specs.extend([
            spec(absmax, Kind::Uint8, vec![blocks as i64]),
            spec(format!("{name}.nested_absmax"), Kind::Float, vec![nested]),
            spec(format!("{name}.nested_quant_map"), Kind::Float, vec![256]),
        ]);
    } else {
        specs.push(spec(absmax, Kind::Float, vec![blocks as i64]));
    }
    specs
}

fn parts(
    name: &str,
    weight: &Tensor,
    quantization: Quantization,
) -> Result<BTreeMap<String, Tensor>, QuantError> {
    let finite = |yes: bool| if yes { Ok(()) } else { Err(QuantError::NotFinite { name: name.to_owned() }) };
    let Quantization::Four(config) = quantization else {
        let quantized = Tensor8::quantize(weight)?;
        finite(quantized.is_finite()?)?;
        let row = Tensor::f_from_slice(&[0u8]).op("from_slice")?.f_reshape([0i64; 0]).op("reshape")?;
        return Ok(BTreeMap::from([
            (name.to_owned(), quantized.codes().shallow_clone()),
            (scb_name(name, "SCB"), quantized.absmax().shallow_clone()),
            (scb_name(name, "weight_format"), row),
        ]));
    };
    let quantized = Tensor4::quantize(weight, config)?;
    finite(quantized.is_finite()?)?;
    let table = Tensor::f_from_slice(config.code.table()).op("from_slice")?;
    let mut state = QuantState {
        quant_type: config.code.name().to_owned(),
        blocksize: config.block_size,
        dtype: dtype(quantized.kind()).to_owned(),
        shape: quantized.shape().to_vec(),
        nested_blocksize: None,
        nested_dtype: None,
        nested_offset: None,
    };
    let mut tensors = BTreeMap::from([
        (name.to_owned(), quantized.packed().shallow_clone()),
        (format!("{name}.quant_map"), table),
    ]);
    match quantized.absmax() {
        Absmax::Plain(scales) => {
            tensors.insert(format!("{name}.absmax"), scales.shallow_clone());
        }
        Absmax::Nested { codes, absmax, map, offset } => {
            state.nested_blocksize = Some(dynamic8::BLOCK);
            state.nested_dtype = Some("float32".to_owned());
            state.nested_offset = Some(f64::from(*offset));
            tensors.insert(format!("{name}.absmax"), codes.shallow_clone());
            tensors.insert(format!("{name}.nested_absmax"), absmax.shallow_clone());
            tensors.insert(format!("{name}.nested_quant_map"), map.shallow_clone());
        }
    }
    let state_name = state_name(name, config.code);
    let mut json = serde_json::to_vec(&state)
        .map_err(|source| QuantError::State { name: state_name.clone(), source })?;
    json.resize(json.len().max(STATE_BYTES), b' ');
    tensors.insert(state_name, Tensor::f_from_slice(&json).op("from_slice")?);
    Ok(tensors)
}
