//! Hugging Face's directories: `config.json`, weights in safetensors or torch pickles, the tokenizer's files.

mod config_json;
mod files;
mod quantized;
mod shards;

use std::path::{Path, PathBuf};

use merge::Proof;
use nn_core::UnknownSettings;

pub(super) use config_json::write_configs;
pub(super) use files::HuggingFaceFiles;
use shards::Shards;

use crate::CheckpointError;
use crate::format::{Format, Supports};
use crate::merged_model::MergedModel;
use crate::model_files::ModelFiles;

/// Directory with `config.json` and `model.safetensors` or shards.
#[derive(Debug, Clone, Copy)]
pub struct HuggingFace;

impl Format for HuggingFace {
    fn name(&self) -> &'static str {
        "hf"
    }

    fn description(&self) -> &'static str {
        "config.json, model.safetensors or shards, the tokenizer's files"
    }

    fn detect(&self, path: &Path) -> Result<Option<PathBuf>, CheckpointError> {
        Ok(path.join("config.json").exists().then(|| path.to_owned()))
    }

    fn open(&self, path: &Path, unknown: UnknownSettings) -> Result<Box<dyn ModelFiles>, CheckpointError> {
        Ok(Box::new(HuggingFaceFiles::open(path, unknown)?))
    }

    fn supports(&self) -> Supports {
        Supports { quantization: true, ..Supports::default() }
    }

    fn write(&self, dir: &Path, model: &MergedModel<'_>) -> Result<Proof, CheckpointError> {
        let quantization = model.settings().quantization;
        let max_shard_bytes = model.settings().max_shard_bytes;
        let proof = if let Some(quantization) = quantization {
            quantized::write(dir, model, quantization, max_shard_bytes)?
        } else {
            let shards = Shards::new(dir, model.tensors(), max_shard_bytes)?;
            let proof = model.fill(shards.placements(), shards.streams()?)?;
            shards.write_index(dir)?;
            proof
        };
        write_configs(dir, model)?;
        Ok(proof)
    }
}
