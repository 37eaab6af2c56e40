//! `finetune --plan`: what a run needs, computed from the configuration alone.

use std::fmt::Write as _;

use anyhow::Result;
use llama_model::LlamaConfig;
use lora::TargetModules;
use qlora_nf4::Quantization;
use tch::Kind;
use trainer::AdamW;

use super::config::FinetuneConfig;
use crate::base::Base;
use crate::device::{auto_kind, free_gpu_bytes, free_host_bytes, kind_name, parse_kind};
use crate::exit::usage;

/// Logits held at once by the fused head and loss, twice for its temporaries, in bytes.
const LOGITS_BYTES: f64 = 2.0 * 4.0 * (4 << 20) as f64;

/// What of a paged optimiser visits a GPU at once: a bucket's two means, and what an update makes of them.
const PAGE_BYTES: f64 = 4.0 * 4.0 * AdamW::BUCKET_ELEMENTS as f64;

/// Bytes of one run, by what holds them.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Memory {
    weights: f64,
    adapter: f64,
    gradients: f64,
    optimizer: f64,
    /// Whether the optimiser's state lies elsewhere, in the host's memory.
    paged: bool,
    activations: f64,
    logits: f64,
}

impl Memory {
    fn total(&self) -> f64 {
        let optimizer = if self.paged { PAGE_BYTES } else { self.optimizer };
        self.weights + self.adapter + self.gradients + optimizer + self.activations + self.logits
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
    let stored = base.stated_quantization()?;
    let quantization = run.quantization()?.or(stored);
    let memory = estimate(run, shape, kind, trainable, quantization, cuda);

    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{}", format!("{name:<26}{value}").trim_end());
    };
    line("base model", run.base_model.clone());
    line("parameters", grouped(shape.num_parameters()));
    let share = 100.0 * trainable as f64 / shape.num_parameters() as f64;
    line("trainable parameters", format!("{} ({share:.4} %)", grouped(trainable)));
    line("device, dtype", format!("{}, {}", if cuda { "cuda" } else { "cpu" }, kind_name(kind)));
    if let Some(quantization) = quantization {
        line("linear layers", quantization.describe());
    }
    let tokens = u64::from(run.micro_batch_size) * run.cutoff_len as u64;
    line("micro-batch", format!("{} x {} tokens at most = {tokens}", run.micro_batch_size, run.cutoff_len));
    line("memory, estimated", String::new());
    let weights_note = if cuda || quantization.is_some() || Some(kind) != base.stored_kind() {
        ""
    } else {
        " (mapped from the file, not copied)"
    };
    line("  weights", format!("{}{weights_note}", size(memory.weights)));
    line("  adapter", size(memory.adapter));
    line("  gradients", size(memory.gradients));
    let optimizer = if run.optim.is_8bit() { "  optimiser (8-bit AdamW)" } else { "  optimiser (AdamW)" };
    let place = if memory.paged { " (in the host's memory, not counted)" } else { "" };
    line(optimizer, format!("{}{place}", size(memory.optimizer)));
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

/// Bytes of the frozen weights, and the tile that one product dequantises.
fn weights_bytes(shape: &LlamaConfig, kind: Kind, quantization: Option<Quantization>) -> f64 {
    base_bytes(shape, kind, quantization) + if quantization.is_some() { f64::from(1 << 23) } else { 0.0 }
}

/// Bytes of the frozen weights: those outside the linear layers in `kind`, the layers in it or quantised.
pub(crate) fn base_bytes(shape: &LlamaConfig, kind: Kind, quantization: Option<Quantization>) -> f64 {
    let bytes = kind.elt_size_in_bytes() as f64;
    let layer: i64 = shape.layer_linears().iter().map(|&(_, inputs, outputs)| inputs * outputs).sum();
    let linear = (layer * shape.num_hidden_layers as i64) as f64;
    let each = match quantization {
        None => return shape.num_parameters() as f64 * bytes,
        Some(Quantization::Eight) => 1.0,
        Some(Quantization::Four(config)) => {
            // A float32 a block, or one byte and a 256th of a float32.
            let scale = if config.double_quant { 1.0 + 4.0 / 256.0 } else { 4.0 };
            0.5 + scale / config.block_size as f64
        }
    };
    (shape.num_parameters() as f64 - linear) * bytes + linear * each
}

fn estimate(
    run: &FinetuneConfig,
    shape: &LlamaConfig,
    kind: Kind,
    trainable: i64,
    quantization: Option<Quantization>,
    cuda: bool,
) -> Memory {
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
        weights: weights_bytes(shape, kind, quantization),
        adapter: if run.full { 0.0 } else { trainable * 4.0 },
        gradients: trainable * 4.0,
        optimizer: trainable * if run.optim.is_8bit() { 2.0 + 8.0 / 256.0 } else { 8.0 },
        paged: cuda && run.optim.is_paged(),
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
    use crate::finetune::recipe::Optim;

    #[test]
    fn the_labs_adapter_of_7b_has_its_known_size() {
        let run = FinetuneConfig::default();
        let shape = llama_model::preset("7b").unwrap();
        assert_eq!(adapter_parameters(&run, &shape).unwrap(), 4_194_304);
        assert_eq!(grouped(4_194_304), "4,194,304");
    }

    #[test]
    fn a_7b_base_in_nf4_with_double_quantisation_takes_less_than_3_9_gb() {
        let run =
            FinetuneConfig { quantize: "nf4".to_owned(), double_quant: true, ..FinetuneConfig::default() };
        let shape = llama_model::preset("7b").unwrap();
        let bytes = weights_bytes(&shape, Kind::BFloat16, run.quantization().unwrap());
        assert!(bytes > 3.8e9 && bytes < 3.9e9, "{bytes}");
    }

    #[test]
    fn checkpointing_lowers_the_estimate() {
        let plain = FinetuneConfig::default();
        let saving = FinetuneConfig { gradient_checkpointing: true, ..FinetuneConfig::default() };
        let shape = llama_model::preset("7b").unwrap();
        let total =
            |run: &FinetuneConfig| estimate(run, &shape, Kind::BFloat16, 4_194_304, None, false).total();
        assert!(total(&saving) < total(&plain));
    }

    #[test]
    fn a_paged_state_is_not_counted_but_for_what_visits_the_gpu() {
        let shape = llama_model::preset("7b").unwrap();
        let run = FinetuneConfig { optim: Optim::PagedAdamw32bit, ..FinetuneConfig::default() };
        let [kept, paged] =
            [false, true].map(|cuda| estimate(&run, &shape, Kind::BFloat16, 159_907_840, None, cuda));
        let saved = kept.total() - paged.total();
        assert!((saved - (159_907_840.0 * 8.0 - PAGE_BYTES)).abs() < 1.0, "{saved}");
    }
}
