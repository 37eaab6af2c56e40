//! Writing a GGUF file.

use std::path::Path;

use ::merge::{Layout, Placement, Proof, RowOrder, TensorPlan};
use anyhow::{Context, Result};
use checkpoint::{Base, gguf_metadata, gguf_rope_factors, gguf_tensor_name, has_rotated_rows};
use llama_tokenizer::{Pieces, TokenizerParts};
use tch::Kind;
use weights::{GgmlType, GgufArray, GgufTensorSpec, GgufValue, GgufWriter};

use super::files::Flow;
use super::plan::Plan;
use super::settings::Precision;

/// The file.
pub(crate) const FILE: &str = "model.gguf";
/// Elements of a block of `Q8_0`.
const BLOCK: i64 = 32;

/// Writes `model.gguf` into `dir`.
pub(crate) fn write(
    dir: &Path,
    base: &Base,
    plan: &Plan,
    flow: &Flow<'_>,
    precision: Precision,
) -> Result<Proof> {
    let main = match precision {
        Precision::Q8_0 => GgmlType::Q8_0,
        Precision::AsBase | Precision::Of(_) => plain(plan.kind()),
    };
    let mut metadata = gguf_metadata(&plan.config);
    metadata.insert(1, ("general.name".to_owned(), GgufValue::Text(name_of(base))));
    metadata.insert(2, ("general.file_type".to_owned(), GgufValue::Unsigned(file_type(main))));
    if main == GgmlType::Q8_0 {
        metadata.insert(3, ("general.quantization_version".to_owned(), GgufValue::Unsigned(2)));
    }
    metadata.extend(tokenizer(base, plan)?);

    let factors = gguf_rope_factors(&plan.config)?;
    let mut specs: Vec<GgufTensorSpec> = Vec::with_capacity(plan.tensors.len() + 1);
    if let Some((name, factors)) = &factors {
        specs.push(GgufTensorSpec { name: name.clone(), ggml_type: GgmlType::F32, shape: factors.size() });
    }
    let mut placements = Vec::with_capacity(plan.tensors.len());
    for tensor in &plan.tensors {
        let name = gguf_tensor_name(&tensor.name)
            .with_context(|| format!("GGUF files have no name for `{}`", tensor.name))?;
        let shape = tensor.merged_shape();
        let spec = GgufTensorSpec { name: name.clone(), ggml_type: form(main, &shape), shape };
        let order = if has_rotated_rows(&tensor.name) {
            RowOrder::Pairs { head_dim: plan.config.head_dim }
        } else {
            RowOrder::Halves
        };
        let tensor = TensorPlan { kind: spec.piece_kind(), ..tensor.clone() };
        placements.push(Placement::whole(tensor, order, 0, name));
        specs.push(spec);
    }
    let mut file = GgufWriter::new(&dir.join(FILE), specs, &metadata)?.stream()?;
    if let Some((name, factors)) = &factors {
        file.write(name, factors)?;
    }
    flow.fill(&Layout(placements), vec![file])
}

fn name_of(base: &Base) -> String {
    base.dir.file_stem().map_or_else(|| "merged".to_owned(), |name| name.to_string_lossy().into_owned())
}

fn plain(kind: Kind) -> GgmlType {
    match kind {
        Kind::Half => GgmlType::F16,
        Kind::BFloat16 => GgmlType::BF16,
        _ => GgmlType::F32,
    }
}

/// The form of one tensor: vectors in single precision, and rows that do not fill blocks in half, as llama.cpp's
/// converter has it.
fn form(main: GgmlType, shape: &[i64]) -> GgmlType {
    match shape {
        [_, row] if main == GgmlType::Q8_0 && row % BLOCK != 0 => GgmlType::F16,
        [_, _] => main,
        _ => GgmlType::F32,
    }
}

/// llama.cpp's number of what most of the file is in (`llama_ftype`).
fn file_type(main: GgmlType) -> u64 {
    match main {
        GgmlType::F16 => 1,
        GgmlType::Q8_0 => 7,
        GgmlType::BF16 => 32,
        _ => 0,
    }
}

/// The tokenizer's part of the metadata: that of a base which is a GGUF file, or made of the tokenizer's files.
fn tokenizer(base: &Base, plan: &Plan) -> Result<Vec<(String, GgufValue)>> {
    if let Some(file) = base.gguf_file() {
        let own = file.metadata().iter().filter(|(key, _)| key.starts_with("tokenizer."));
        return Ok(own.map(|(key, value)| (key.to_owned(), value.clone())).collect());
    }
    let mut parts =
        TokenizerParts::from_dir(base.tokenizer_dir()).context("a GGUF file needs a tokenizer")?;
    parts.resize(plan.config.vocab_size.max(0) as usize);
    let texts = |texts: Vec<String>| GgufValue::Array(GgufArray::Texts(texts));
    let mut metadata = Vec::new();
    let mut put = |key: &str, value: GgufValue| metadata.push((format!("tokenizer.ggml.{key}"), value));
    let model = match &parts.pieces {
        Pieces::Scores { .. } => "llama",
        Pieces::Merges { .. } => "gpt2",
    };
    put("model", GgufValue::Text(model.to_owned()));
    let pre = match &parts.pieces {
        Pieces::Scores { .. } => "default",
        Pieces::Merges { pre, .. } => pre,
    };
    put("pre", GgufValue::Text(pre.to_owned()));
    put("tokens", texts(parts.tokens));
    match parts.pieces {
        Pieces::Scores { scores, add_space_prefix } => {
            put("scores", GgufValue::Array(GgufArray::Floats(scores.into_iter().map(f64::from).collect())));
            put("add_space_prefix", GgufValue::Bool(add_space_prefix));
        }
        Pieces::Merges { merges, .. } => put("merges", texts(merges)),
    }
    put("token_type", GgufValue::Array(GgufArray::Integers(parts.token_types)));
    let ids =
        [("bos", parts.bos_id), ("eos", parts.eos_id), ("unknown", parts.unk_id), ("padding", parts.pad_id)];
    for (role, id) in ids {
        if let Some(id) = id {
            put(&format!("{role}_token_id"), GgufValue::Unsigned(id.into()));
        }
    }
    put("add_bos_token", GgufValue::Bool(parts.add_bos.unwrap_or(true)));
    put("add_eos_token", GgufValue::Bool(false));
    if let Some(template) = base.chat_template()? {
        metadata.push(("tokenizer.chat_template".to_owned(), GgufValue::Text(template)));
    }
    Ok(metadata)
}
