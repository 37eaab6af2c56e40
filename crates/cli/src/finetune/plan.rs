//! `finetune --plan`: what a run needs, computed from the configuration alone.

use std::fmt::Write as _;

use anyhow::Result;
use checkpoint::{Base, auto_kind, free_host_bytes};
use llama_finetune::{MemoryPlan, RunShape, adapter_parameters};
use nn_core::Dtype;
use tch::Kind;

use super::config::FinetuneConfig;
use crate::device::{free_gpu_bytes, kind_name};

/// The text of the plan.
///
/// # Errors
/// When the base's configuration cannot be read or a target names no layer.
pub(crate) fn plan(run: &FinetuneConfig) -> Result<String> {
    let base = Base::open(&run.base_model)?;
    let shape = &base.config;
    let cuda = run.device.starts_with("cuda") || (run.device == "auto" && free_gpu_bytes().is_some());
    let device = if cuda { tch::Device::Cuda(0) } else { tch::Device::Cpu };
    let kind = if run.full { Some(Kind::Float) } else { run.dtype.parse::<Dtype>()?.kind() };
    let kind = kind.unwrap_or_else(|| auto_kind(device, shape.num_parameters()));
    let trainable = if run.full { shape.num_parameters() } else { adapter_parameters(shape, &run.lora())? };
    let quantization = run.quantization()?.or(base.stated_quantization()?);
    let planned = RunShape {
        kind,
        quantization,
        trainable,
        full: run.full,
        lora_dropout: run.lora_dropout,
        gradient_checkpointing: run.gradient_checkpointing,
        micro_batch_size: run.micro_batch_size,
        cutoff_len: run.cutoff_len,
        optimizer: run.optim,
    };
    let memory = MemoryPlan::estimate(shape, &planned, cuda);

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
    let optimizer = format!("  optimiser ({})", run.optim.title());
    let place = if memory.page.is_some() { " (in the host's memory, not counted)" } else { "" };
    line(&optimizer, format!("{}{place}", size(memory.optimizer)));
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
    fn digits_are_grouped_by_thousands() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (4_194_304, "4,194,304")] {
            assert_eq!(grouped(number), text);
        }
    }
}
