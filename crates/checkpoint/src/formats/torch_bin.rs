//! Hugging Face's directories with the weights in torch pickles, as transformers wrote them before safetensors.

use std::path::{Path, PathBuf};

use merge::{Placement, Proof, TensorPlan};
use nn_core::UnknownSettings;
use serde_json::{Map, json};
use weights::{TensorSpec, TorchWriter};

use super::hf::{HuggingFaceFiles, write_configs};
use crate::CheckpointError;
use crate::format::Format;
use crate::merged_model::MergedModel;
use crate::model_files::ModelFiles;
use crate::text_file::write_text;

/// Directory with `config.json` and `pytorch_model.bin` or shards.
#[derive(Debug, Clone, Copy)]
pub(super) struct TorchBin;

/// File of the weights, where there is one.
const WEIGHTS: &str = "pytorch_model.bin";
/// Index of the weights, where there are shards.
const INDEX: &str = "pytorch_model.bin.index.json";

impl Format for TorchBin {
    fn name(&self) -> &'static str {
        "torch-bin"
    }

    fn description(&self) -> &'static str {
        "config.json, pytorch_model.bin or shards, the tokenizer's files"
    }

    /// Leaves a directory that has safetensors too to Hugging Face's form, as transformers does.
    fn detect(&self, path: &Path) -> Result<Option<PathBuf>, CheckpointError> {
        let has = |name: &str| path.join(name).exists();
        let safetensors = has("model.safetensors") || has("model.safetensors.index.json");
        let found = has("config.json") && !safetensors && (has(WEIGHTS) || has(INDEX));
        Ok(found.then(|| path.to_owned()))
    }

    fn open(&self, path: &Path, unknown: UnknownSettings) -> Result<Box<dyn ModelFiles>, CheckpointError> {
        Ok(Box::new(HuggingFaceFiles::open(path, unknown)?))
    }

    fn write(&self, dir: &Path, model: &MergedModel<'_>) -> Result<Proof, CheckpointError> {
        let mut shards: Vec<Vec<&TensorPlan>> = vec![Vec::new()];
        let (mut size, mut total_bytes) = (0, 0);
        for tensor in model.tensors() {
            let num_bytes = spec(tensor).num_bytes();
            if size > 0 && size + num_bytes > model.settings().max_shard_bytes {
                shards.push(Vec::new());
                size = 0;
            }
            size += num_bytes;
            total_bytes += num_bytes;
            if let Some(shard) = shards.last_mut() {
                shard.push(tensor);
            }
        }
        let (mut placements, mut files, mut weight_map) = (Vec::new(), Vec::new(), Map::new());
        for (index, tensors) in shards.iter().enumerate() {
            let file = file_name(index, shards.len());
            let specs = tensors.iter().map(|tensor| spec(tensor)).collect();
            files.push(TorchWriter::new(&dir.join(&file), specs, &[])?.stream()?);
            for &tensor in tensors {
                let name = tensor.name.clone();
                weight_map.insert(name.clone(), file.as_str().into());
                placements.push(Placement::whole(tensor.clone(), index, name));
            }
        }
        let proof = model.fill(&placements, files)?;
        if shards.len() > 1 {
            let index = json!({"metadata": {"total_size": total_bytes}, "weight_map": weight_map});
            write_text(&dir.join(INDEX), &format!("{index:#}"))?;
        }
        write_configs(dir, model)?;
        Ok(proof)
    }
}

/// Describes a tensor to the header of its file.
fn spec(tensor: &TensorPlan) -> TensorSpec {
    TensorSpec { name: tensor.name.clone(), kind: tensor.kind, shape: tensor.merged_shape() }
}

/// Names file `index` of `count`, as transformers does.
fn file_name(index: usize, count: usize) -> String {
    if count == 1 { WEIGHTS.to_owned() } else { format!("pytorch_model-{:05}-of-{count:05}.bin", index + 1) }
}
