//! Writing a GGUF file.

use std::any::Any;
use std::path::Path;

use llama_model::TensorName;
use merge::{Placement, Proof, TensorPlan};
use tch::Kind;
use weights::{GgmlType, GgufTensorSpec, GgufValue, GgufWriter};

use super::files::GgufFiles;
use super::metadata::{metadata, rope_factors};
use super::tokenizer;
use crate::CheckpointError;
use crate::merged_model::{MergedModel, Precision};
use crate::row_order::order_in_pairs;

/// Name of the file.
const FILE: &str = "model.gguf";
/// Elements of a block of `Q8_0`.
const BLOCK: i64 = 32;

/// Writes `model.gguf` into `dir`.
pub(super) fn write(dir: &Path, model: &MergedModel<'_>) -> Result<Proof, CheckpointError> {
    let main = match model.settings().precision {
        Precision::Q8_0 => GgmlType::Q8_0,
        Precision::AsBase | Precision::Of(_) => plain(model.kind()),
    };
    let mut metadata = metadata(model.config())?;
    metadata.insert(1, ("general.name".to_owned(), GgufValue::Text(model.name().to_owned())));
    metadata.insert(2, ("general.file_type".to_owned(), GgufValue::Unsigned(file_type(main))));
    if main == GgmlType::Q8_0 {
        metadata.insert(3, ("general.quantization_version".to_owned(), GgufValue::Unsigned(2)));
    }
    let own = (model.base() as &dyn Any).downcast_ref::<GgufFiles>().map(GgufFiles::file);
    metadata.extend(tokenizer::metadata(own, model)?);

    let factors = rope_factors(model.config())?;
    let mut specs: Vec<GgufTensorSpec> = Vec::with_capacity(model.tensors().len() + 1);
    if let Some((name, factors)) = &factors {
        specs.push(GgufTensorSpec { name: name.clone(), ggml_type: GgmlType::F32, shape: factors.size() });
    }
    let mut placements = Vec::with_capacity(model.tensors().len());
    for tensor in model.tensors() {
        let name = TensorName::parse(&tensor.name)
            .map(|name| name.gguf())
            .ok_or_else(|| CheckpointError::NoGgufName { name: tensor.name.clone() })?;
        let shape = tensor.merged_shape();
        let spec = GgufTensorSpec { name: name.clone(), ggml_type: form(main, &shape), shape };
        let row_order = if model.config().family.gguf_pairs {
            order_in_pairs(&tensor.name, model.config().head_dim)
        } else {
            Vec::new()
        };
        let tensor = TensorPlan { kind: spec.piece_kind(), ..tensor.clone() };
        placements.push(Placement { row_order, ..Placement::whole(tensor, 0, name) });
        specs.push(spec);
    }
    let mut file = GgufWriter::new(&dir.join(FILE), specs, &metadata)?.stream()?;
    if let Some((name, factors)) = &factors {
        file.write(name, factors)?;
    }
    model.fill(&placements, vec![file])
}

fn plain(kind: Kind) -> GgmlType {
    match kind {
        Kind::Half => GgmlType::F16,
        Kind::BFloat16 => GgmlType::BF16,
        _ => GgmlType::F32,
    }
}

/// Chooses the form of one tensor: vectors in single precision, and rows that do not fill blocks in half, as llama.cpp's
/// converter has it.
fn form(main: GgmlType, shape: &[i64]) -> GgmlType {
    match shape {
        [_, row] if main == GgmlType::Q8_0 && row % BLOCK != 0 => GgmlType::F16,
        [_, _] => main,
        _ => GgmlType::F32,
    }
}

/// Returns llama.cpp's number of the form that most of the file is in (`llama_ftype`).
fn file_type(main: GgmlType) -> u64 {
    match main {
        GgmlType::F16 => 1,
        GgmlType::Q8_0 => 7,
        GgmlType::BF16 => 32,
        _ => 0,
    }
}
