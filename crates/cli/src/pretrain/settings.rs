//! Flags over the run file over the defaults.

use anyhow::Result;
use nn_core::Dtype;
use serde::{Deserialize, Serialize};
use trainer::TrainConfig;

use super::args::PretrainArgs;
use crate::run_file;

/// The run file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PretrainConfig {
    /// Shape of the model.
    pub(crate) preset: String,
    /// Tokens of one training sequence.
    pub(crate) seq_len: usize,
    /// Precision of the written model.
    pub(crate) dtype: Dtype,
    /// Settings of the trainer.
    pub(crate) train: TrainConfig,
}

impl Default for PretrainConfig {
    fn default() -> Self {
        Self { preset: "tiny".to_owned(), seq_len: 128, dtype: Dtype::Float16, train: TrainConfig::default() }
    }
}

/// Decides every setting.
///
/// # Errors
/// When the run file cannot be read or names an unknown field.
pub(crate) fn resolve(args: &PretrainArgs) -> Result<PretrainConfig> {
    let mut config = match &args.config {
        None => PretrainConfig::default(),
        Some(path) => run_file::read(path)?.0,
    };
    config.preset = args.preset.clone().unwrap_or(config.preset);
    config.dtype = args.dtype.unwrap_or(config.dtype);
    config.train.seed = args.seed.unwrap_or(config.train.seed);
    Ok(config)
}
