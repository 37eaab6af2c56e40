//! `finetune --plan`: what a run needs, computed from the configuration alone.

use std::fmt::Write as _;

use anyhow::Result;
use llama_model::LlamaConfig;
use lora::TargetModules;
use tch::Kind;

use super::config::FinetuneConfig;
use crate::base::Base;
use crate::device::{auto_kind, free_gpu_bytes, free_host_bytes, kind_name, parse_kind};
use crate::exit::usage;

/// Logits held at once by the fused head and loss, twice for its temporaries, in bytes.
const LOGITS_BYTES: f64 = 2.0 * 4.0 * (4 << 20) as f64;

/// Bytes of one run, by what holds them.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Memory {
    weights: f64,
    adapter: f64,
    gradients: f64,
    optimizer: f64,
    activations: f64,
    logits: f64,
}

impl Memory {
    fn total(&self) -> f64 {
        self.weights + self.adapter + self.gradients + self.optimizer + self.activations + self.logits
    }
}

/// The text of the plan.
///
/// # Errors
/// When the base's configuration cannot be read or a target names no layer.
pub(crate) fn plan(run: &FinetuneConfig) -> Result<String> {
    let base = Base::open(&run.base_model)?;
    let shape = &base.config;
    let cuda = run.device.starts_with("cuda") || (run.device == "auto" && free_gpu_bytes().is_some());
    let device = if cuda { tch::Device::Cuda(0) } else { tch::Device::Cpu };
    let kind = if run.full { Some(Kind::Float) } else { parse_kind(&run.dtype)? };
    let kind = kind.unwrap_or_else(|| auto_kind(device, shape.num_parameters()));
    let trainable = if run.full { shape.num_parameters() } else { adapter_parameters(run, shape)? };
    let memory = estimate(run, shape, kind, trainable);

    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{}", format!("{name:<26}{value}").trim_end());
    };
    line("base model", run.base_model.clone());
    line("parameters", grouped(shape.num_parameters()));
    let share = 100.0 * trainable as f64 / shape.num_parameters() as f64;
    line("trainable parameters", format!("{} ({share:.4} %)", grouped(trainable)));
    line("device, dtype", format!("{}, {}", if cuda { "cuda" } else { "cpu" }, kind_name(kind)));
    let tokens = u64::from(run.micro_batch_size) * run.cutoff_len as u64;
    line("micro-batch", format!("{} x {} tokens at most = {tokens}", run.micro_batch_size, run.cutoff_len));
    line("memory, estimated", String::new());
    let weights_note =
        if cuda || Some(kind) != base.stored_kind() { "" } else { " (mapped from the file, not copied)" };
    line("  weights", format!("{}{weights_note}", size(memory.weights)));
    line("  adapter", size(memory.adapter));
    line("  gradients", size(memory.gradients));
    line("  optimiser (AdamW)", size(memory.optimizer));
    line("  activations", size(memory.activations));
    line("  logits", size(memory.logits));
    line("  total", size(memory.total()));
    let available = if cuda { free_gpu_bytes() } else { free_host_bytes().map(|bytes| bytes as f64) };
    let verdict = match available {
        None => "unknown: this machine does not say how much memory the device has".to_owned(),
        Some(free) if memory.total() <= free => format!("yes: {} free", size(free)),
        Some(free) => format!(
            "no: {} free; try a smaller micro_batch_size or cutoff_len, --gradient_checkpointing{}",
            size(free),
            if kind == Kind::Float && !run.full { ", --dtype bfloat16" } else { "" }
        ),
    };
    line("fits", verdict);
    Ok(text)
}

fn adapter_parameters(run: &FinetuneConfig, shape: &LlamaConfig) -> Result<i64> {
    let linears = shape.layer_linears();
    let adapted: Vec<_> = match &run.lora_target_modules {
        TargetModules::Names(names) => {
            let known = linears.map(|(leaf, ..)| leaf);
            if let Some(name) = names.iter().find(|name| !known.contains(&name.as_str())) {
                let known = known.join(", ");
                return Err(usage(format!(
                    "target module `{name}` is no linear layer of the model, which has {known}"
                )));
            }
            linears.into_iter().filter(|(leaf, ..)| names.iter().any(|name| name == leaf)).collect()
        }
        TargetModules::Pattern(pattern) if pattern == "all-linear" => linears.to_vec(),
        TargetModules::Pattern(_) => {
            return Err(usage(
                "--plan counts names and all-linear; a regular expression needs the model itself",
            ));
        }
    };
    let layer: i64 = adapted.iter().map(|&(_, inputs, outputs)| run.lora_r * (inputs + outputs)).sum();
    Ok(layer * shape.num_hidden_layers as i64)
}

fn estimate(run: &FinetuneConfig, shape: &LlamaConfig, kind: Kind, trainable: i64) -> Memory {
    let bytes = kind.elt_size_in_bytes() as f64;
    let trainable = trainable as f64;
    let tokens = f64::from(run.micro_batch_size) * run.cutoff_len as f64;
    let (c, f) = (shape.hidden_size as f64, shape.intermediate_size as f64);
    let heads = ((shape.num_attention_heads + shape.num_key_value_heads) * shape.head_dim) as f64;
    // Kept for the backward pass of one layer and token: the inputs of the two norms in float32, their outputs where an
    // adapter or a weight reads them, q, k, v and the output of attention, and gate, silu(gate) and up.
    let layer = 2.0 * c * 4.0 + 2.0 * c * bytes + 2.0 * heads * bytes + 3.0 * f * bytes;
    // Dropout keeps its own input and mask.
    let layer = if run.full || run.lora_dropout == 0.0 { layer } else { layer + 2.0 * 2.0 * c * 4.0 };
    let layers = shape.num_hidden_layers as f64;
    let activations = if run.gradient_checkpointing { layers * c * bytes + layer } else { layers * layer };
    Memory {
        weights: shape.num_parameters() as f64 * bytes,
        adapter: if run.full { 0.0 } else { trainable * 4.0 },
        gradients: trainable * 4.0,
        optimizer: trainable * 8.0,
        activations: tokens * activations,
        logits: LOGITS_BYTES,
    }
}

fn size(bytes: f64) -> String {
    if bytes < f64::from(1 << 20) / 10.0 {
        format!("{:.1} KiB", bytes / f64::from(1 << 10))
    } else if bytes < f64::from(1 << 30) / 10.0 {
        format!("{:.1} MiB", bytes / f64::from(1 << 20))
    } else {
        format!("{:.2} GiB", bytes / f64::from(1 << 30))
    }
}

/// `6738415616` as `6,738,415,616`.
pub(crate) fn grouped(number: i64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_labs_adapter_of_7b_has_its_known_size() {
        let run = FinetuneConfig::default();
        let shape = llama_model::preset("7b").unwrap();
        assert_eq!(adapter_parameters(&run, &shape).unwrap(), 4_194_304);
        assert_eq!(grouped(4_194_304), "4,194,304");
    }

    #[test]
    fn checkpointing_lowers_the_estimate() {
        let plain = FinetuneConfig::default();
        let saving = FinetuneConfig { gradient_checkpointing: true, ..FinetuneConfig::default() };
        let shape = llama_model::preset("7b").unwrap();
        let total = |run: &FinetuneConfig| estimate(run, &shape, Kind::BFloat16, 4_194_304).total();
        assert!(total(&saving) < total(&plain));
    }
}
