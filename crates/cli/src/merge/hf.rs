//! Writing a Hugging Face directory.

use std::path::Path;

use ::merge::{HfLayout, Proof};
use anyhow::{Context, Result};
use qlora_nf4::{Quantization, quantization_config};
use serde_json::{Value, json};
use weights::atomic_write;

use super::files::Flow;
use super::plan::Plan;
use super::quantized;
use checkpoint::Base;

/// Writes weights, configuration and the tokenizer's files into `dir`.
pub(crate) fn write(
    dir: &Path,
    base: &Base,
    plan: &Plan,
    flow: &Flow<'_>,
    quantization: Option<Quantization>,
    max_shard_bytes: u64,
) -> Result<Proof> {
    let proof = if let Some(quantization) = quantization {
        quantized::write(dir, plan, flow, quantization, max_shard_bytes)?
    } else {
        let layout = HfLayout::new(dir, &plan.tensors, max_shard_bytes)?;
        let proof = flow.fill(layout.layout(), layout.streams()?)?;
        layout.write_index(dir)?;
        proof
    };
    write_text(&dir.join("config.json"), &config_json(base, plan, quantization)?)?;
    if let Err(missing) = base.copy_tokenizer(dir) {
        tracing::warn!("the tokenizer is not copied: {missing:#}");
    }
    let generation = dir.join("generation_config.json");
    if !generation.exists() {
        let config = json!({
            "_from_model_config": true,
            "bos_token_id": plan.config.bos_token_id,
            "eos_token_id": plan.config.eos_token_id,
        });
        write_text(&generation, &serde_json::to_string_pretty(&config)?)?;
    }
    Ok(proof)
}

/// The base's own configuration with what changed, so that fields nobody here knows survive; one of its shape where the
/// base has none.
fn config_json(base: &Base, plan: &Plan, quantization: Option<Quantization>) -> Result<String> {
    let path = base.dir.join("config.json");
    let text = if path.is_file() {
        std::fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?
    } else {
        plan.config.to_json()
    };
    let mut config: Value =
        serde_json::from_str(&text).with_context(|| format!("cannot read `{}`", path.display()))?;
    let field = if config.get("dtype").is_some() { "dtype" } else { "torch_dtype" };
    config[field] = plan.dtype().into();
    config["vocab_size"] = plan.config.vocab_size.into();
    if let Some(fields) = config.as_object_mut() {
        fields.shift_remove("quantization_config");
    }
    if let Some(quantization) = quantization {
        config["quantization_config"] = quantization_config(quantization, plan.dtype());
    }
    Ok(serde_json::to_string_pretty(&config)?)
}

/// Writes a text file.
pub(crate) fn write_text(path: &Path, text: &str) -> Result<()> {
    Ok(atomic_write(path, |file| {
        file.write_all(text.as_bytes())?;
        file.write_all(b"\n")
    })?)
}
