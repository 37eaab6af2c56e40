//! Flags over the run file over a recipe over the defaults.

use std::path::Path;

use anyhow::Result;
use toml::Table;

use super::args::FinetuneArgs;
use super::recipe::Recipe;
use super::settings::FinetuneConfig;
use crate::run_file;

/// Decides every setting of a run.
///
/// # Errors
/// When the run file cannot be read or names an unknown field, or a value is out of range.
pub fn resolve(args: &FinetuneArgs) -> Result<FinetuneConfig> {
    let config = settled(args)?;
    config.validate()?;
    Ok(config)
}

/// Decides every setting, and checks none: the base may be missing yet.
pub(crate) fn settled(args: &FinetuneArgs) -> Result<FinetuneConfig> {
    let mut config = args.recipe.map_or_else(FinetuneConfig::default, Recipe::settings);
    if let Some(path) = &args.config {
        config = overridden(&config, path)?;
    }
    args.settings.apply(&mut config)?;
    let compute = &args.compute;
    config.device = compute.device.unwrap_or(config.device);
    config.device_map = compute.device_map.unwrap_or(config.device_map);
    config.dtype = compute.dtype.unwrap_or(config.dtype);
    config.quantize = compute.quantize()?.unwrap_or(config.quantize);
    config.double_quant = compute.double_quant.unwrap_or(config.double_quant);
    config.threads = compute.threads.or(config.threads);
    decide_betas(&mut config);
    Ok(config)
}

/// Decides the settings of a run that a run file alone describes; returns the `run.toml` that repeats it.
///
/// # Errors
/// Those of a run whose `--config` this file is.
pub fn run_file(path: &Path) -> Result<String> {
    let mut config = overridden(&FinetuneConfig::default(), path)?;
    decide_betas(&mut config);
    config.validate()?;
    config.to_toml()
}

/// Decides what a run leaves to its optimiser, so that `run.toml` holds the values that were used.
fn decide_betas(config: &mut FinetuneConfig) {
    let (beta1, beta2) = config.optim.default_betas();
    config.adam_beta1.get_or_insert(beta1);
    config.adam_beta2.get_or_insert(beta2);
}

/// Returns `config` with the fields that the file `path` names.
fn overridden(config: &FinetuneConfig, path: &Path) -> Result<FinetuneConfig> {
    let (_, text) = run_file::read::<FinetuneConfig>(path)?;
    let mut table = Table::try_from(config)?;
    table.extend(text.parse::<Table>()?);
    Ok(table.try_into()?)
}
