//! 4-bit weights in bitsandbytes' serialised form.

use kernels::{Blocks4, Scales, dynamic8};
use nn_core::TorchContext;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};
use weights::{TensorSpec, TensorStore};

use super::data_type::FourBit;
use crate::QuantError;
use crate::scheme::{Blocks, check, part};

/// Part of the name of the tensor that holds the state of a weight.
pub(super) const STATE: &str = ".quant_state.bitsandbytes__";

/// Bytes of a state's JSON in a file: its length is decided before its numbers are known, and blanks fill it up.
const STATE_BYTES: usize = 320;

/// The JSON in `….weight.quant_state.bitsandbytes__nf4` (bitsandbytes `functional.py`, `QuantState.as_dict`).
#[derive(Debug, Serialize, Deserialize)]
struct QuantState {
    quant_type: String,
    blocksize: usize,
    dtype: String,
    shape: Vec<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nested_blocksize: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nested_dtype: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nested_offset: Option<f64>,
}

/// PyTorch's names of the kinds that are quantised.
const DTYPES: [(&str, Kind); 3] =
    [("bfloat16", Kind::BFloat16), ("float16", Kind::Half), ("float32", Kind::Float)];

/// Returns the name of the tensor that holds the state of the weight `name`.
pub(super) fn state_name(name: &str, scheme: &FourBit) -> String {
    format!("{name}{STATE}{}", scheme.name)
}

/// Returns what a file holds for `weight`.
pub(super) fn parts(scheme: &FourBit, weight: &TensorSpec, blocks: Blocks) -> Vec<TensorSpec> {
    let name = &weight.name;
    let spec = |name: String, kind, len: usize| TensorSpec { name, kind, shape: vec![len as i64] };
    let numbers = weight.shape.iter().product::<i64>();
    let scales = (numbers as usize).div_ceil(blocks.size);
    let packed = TensorSpec { name: name.clone(), kind: Kind::Uint8, shape: vec![(numbers + 1) / 2, 1] };
    let mut specs = vec![
        packed,
        spec(format!("{name}.quant_map"), Kind::Float, 16),
        spec(state_name(name, scheme), Kind::Uint8, STATE_BYTES),
    ];
    let absmax = format!("{name}.absmax");
    if blocks.double_quant {
        specs.extend([
            spec(absmax, Kind::Uint8, scales),
            spec(format!("{name}.nested_absmax"), Kind::Float, scales.div_ceil(dynamic8::BLOCK)),
            spec(format!("{name}.nested_quant_map"), Kind::Float, 256),
        ]);
    } else {
        specs.push(spec(absmax, Kind::Float, scales));
    }
    specs
}

/// Returns the tensors of [`parts`].
pub(super) fn tensors(
    scheme: &FourBit,
    codes: &Blocks4,
    kind: Kind,
    name: &str,
) -> Result<Vec<(String, Tensor)>, QuantError> {
    let dtype = DTYPES.iter().find(|(_, of)| *of == kind).map_or("float32", |(name, _)| name);
    let mut state = QuantState {
        quant_type: scheme.name.to_owned(),
        blocksize: codes.block_size(),
        dtype: dtype.to_owned(),
        shape: codes.shape().to_vec(),
        nested_blocksize: None,
        nested_dtype: None,
        nested_offset: None,
    };
    let table = Tensor::f_from_slice(scheme.table.values()).op("from_slice")?;
    let mut tensors =
        vec![(name.to_owned(), codes.packed().shallow_clone()), (format!("{name}.quant_map"), table)];
    match codes.scales() {
        Scales::Plain(scales) => tensors.push((format!("{name}.absmax"), scales.shallow_clone())),
        Scales::Nested { codes, absmax, map, offset } => {
            state.nested_blocksize = Some(dynamic8::BLOCK);
            state.nested_dtype = Some("float32".to_owned());
            state.nested_offset = Some(f64::from(*offset));
            tensors.extend([
                (format!("{name}.absmax"), codes.shallow_clone()),
                (format!("{name}.nested_absmax"), absmax.shallow_clone()),
                (format!("{name}.nested_quant_map"), map.shallow_clone()),
            ]);
        }
    }
    let state_name = state_name(name, scheme);
    let mut json = serde_json::to_vec(&state)
        .map_err(|source| QuantError::State { name: state_name.clone(), source })?;
    json.resize(json.len().max(STATE_BYTES), b' ');
    tensors.push((state_name, Tensor::f_from_slice(&json).op("from_slice")?));
    Ok(tensors)
}

/// Opens the codes of the weight `name`, which stay in the mapped file, and the kind that it had.
pub(super) fn open(
    scheme: &'static FourBit,
    store: &TensorStore,
    name: &str,
    shape: [i64; 2],
) -> Result<(Blocks4, Kind), QuantError> {
    let state_name = state_name(name, scheme);
    let state = read_state(store, &state_name)?;
    check(&state_name, "has quant_type", &state.quant_type, &scheme.name)?;
    check(&state_name, "has shape", &format!("{:?}", state.shape), &format!("{shape:?}"))?;
    let kind = DTYPES.iter().find(|(name, _)| *name == state.dtype).map(|(_, kind)| *kind);
    let kind = kind.ok_or_else(|| QuantError::Contradiction {
        name: state_name.clone(),
        what: "has dtype",
        actual: state.dtype.clone(),
        expected: "bfloat16, float16 or float32".to_owned(),
    })?;
    let size = state.blocksize;
    let nested = state.nested_offset.is_some() || state.nested_blocksize.is_some();
    Blocks { size, double_quant: nested }.validate().map_err(|_| QuantError::Contradiction {
        name: state_name.clone(),
        what: "has blocksize",
        actual: size.to_string(),
        expected: "one of 32, 64, 128, 256, 512, 1024, 2048, 4096".to_owned(),
    })?;
    let numbers = shape.iter().product::<i64>() as usize;
    let scales = numbers.div_ceil(size);
    let of_kind = |suffix: &str, kind: Kind, len: usize| -> Result<Tensor, QuantError> {
        let part_name = format!("{name}.{suffix}");
        let tensor = part(store, name, &part_name)?;
        check(&part_name, "has kind", &format!("{:?}", tensor.kind()), &format!("{kind:?}"))?;
        check(&part_name, "has length", &tensor.numel(), &len)?;
        Ok(tensor.f_reshape([-1i64]).op("reshape")?)
    };
    let table = of_kind("quant_map", Kind::Float, 16)?;
    let ours = Tensor::f_from_slice(scheme.table.values()).op("from_slice")?;
    if !table.f_allclose(&ours, 1e-5, 1e-6, false).op("allclose")? {
        return Err(QuantError::Contradiction {
            name: format!("{name}.quant_map"),
            what: "has",
            actual: format!("{table:?}"),
            expected: format!("the table of {}", scheme.name),
        });
    }
    // Other kinds of storage hold the same bytes.
    let packed = part(store, name, name)?.f_contiguous().op("contiguous")?;
    let packed = packed.f_view_dtype(Kind::Uint8).op("view")?.f_reshape([-1, 1]).op("reshape")?;
    check(name, "has length", &packed.numel(), &numbers.div_ceil(2))?;
    let absmax = if nested {
        let block = state.nested_blocksize.unwrap_or_default();
        check(&state_name, "has nested_blocksize", &block, &dynamic8::BLOCK)?;
        check(&state_name, "has nested_dtype", &state.nested_dtype.unwrap_or_default(), &"float32")?;
        let offset = state.nested_offset.ok_or_else(|| QuantError::Missing {
            name: state_name.clone(),
            missing: "nested_offset".to_owned(),
        })?;
        Scales::Nested {
            codes: of_kind("absmax", Kind::Uint8, scales)?,
            absmax: of_kind("nested_absmax", Kind::Float, scales.div_ceil(dynamic8::BLOCK))?,
            map: of_kind("nested_quant_map", Kind::Float, dynamic8::BLOCK)?,
            offset: offset as f32,
        }
    } else {
        Scales::Plain(of_kind("absmax", Kind::Float, scales)?)
    };
    let codes = Blocks4::from_parts(packed, absmax, &scheme.table, size, shape.to_vec());
    Ok((codes, kind))
}

fn read_state(store: &TensorStore, name: &str) -> Result<QuantState, QuantError> {
    let json = store.tensor(name)?.f_contiguous().op("contiguous")?;
    let json = Vec::<u8>::try_from(json).op("to_vec")?;
    serde_json::from_slice(&json).map_err(|source| QuantError::State { name: name.to_owned(), source })
}
