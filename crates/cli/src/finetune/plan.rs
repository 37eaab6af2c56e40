//! `finetune --plan`: the memory of a run, computed from the settings alone.

use std::fmt::Write as _;

use anyhow::Result;
use checkpoint::{Base, auto_kind};
use llama_finetune::{DeviceChoice, MemoryPlan, RunShape, adapter_parameters, free_bytes, grown_vocabulary};
use nn_core::{Dtype, UnknownSettings};
use tch::Kind;
use terminal::{bytes, count};

use super::settings::FinetuneConfig;

/// Returns the text of the plan.
///
/// # Errors
/// When the base's configuration cannot be read or a target names no layer.
pub(crate) fn plan(run: &FinetuneConfig, unknown: UnknownSettings, processes: usize) -> Result<String> {
    let base = Base::open_with(&run.base_model, unknown)?;
    let shape = &base.config;
    // A GPU that was named is planned for wherever the run will be; `auto` is what this machine can use.
    let device = match run.device {
        DeviceChoice::Cuda(index) => tch::Device::Cuda(index.unwrap_or(0)),
        other => other.start()?,
    };
    let cuda = device.is_cuda();
    let kind = if run.full { Some(Kind::Float) } else { run.dtype.kind() };
    let kind = kind.unwrap_or_else(|| auto_kind(device, shape.num_parameters()));
    let wanted = if run.resize_vocab { Some(base.tokenizer()?.vocab_size() as i64) } else { None };
    let (lora, vocab_size) = grown_vocabulary(shape, wanted, run.lora());
    let trainable =
        if run.full { shape.num_parameters() } else { adapter_parameters(shape, &lora, vocab_size)? };
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
    line("parameters", count(shape.num_parameters()));
    let share = 100.0 * trainable as f64 / shape.num_parameters() as f64;
    line("trainable parameters", format!("{} ({share:.4} %)", count(trainable)));
    line("device, dtype", format!("{}, {}", if cuda { "cuda" } else { "cpu" }, Dtype::name_of(kind)));
    if let Some(quantization) = quantization {
        line("linear layers", quantization.describe());
    }
    let tokens = u64::from(run.micro_batch_size) * run.cutoff_len as u64;
    line("micro-batch", format!("{} x {} tokens at most = {tokens}", run.micro_batch_size, run.cutoff_len));
    if processes > 1 {
        let (all, each) =
            (run.train().gradient_accumulation_steps as usize, run.batch_size as usize / processes);
        line(
            "processes",
            format!("{processes}, which share out {all} micro-batches a step: {each} records each"),
        );
    }
    let of_each = if processes > 1 { "of each process" } else { "" };
    line("memory, estimated", of_each.to_owned());
    let is_mapped = !cuda && quantization.is_none() && Some(kind) == base.files().stored_kind();
    let weights_note = if is_mapped { " (mapped from the file, not copied)" } else { "" };
    line("  weights", format!("{}{weights_note}", bytes(memory.weights)));
    line("  adapter", bytes(memory.adapter));
    line("  gradients", bytes(memory.gradients));
    let optimizer = format!("  optimiser ({})", run.optim.title());
    let place = if memory.page.is_some() { " (in the host's memory, not counted)" } else { "" };
    line(&optimizer, format!("{}{place}", bytes(memory.optimizer)));
    line("  activations", bytes(memory.activations));
    line("  logits", bytes(memory.logits));
    line("  total", bytes(memory.total()));
    // Each GPU has one process; a CPU's memory has all of them, and what is mapped once.
    let on_device = if cuda { 1.0 } else { processes as f64 };
    let shared = if is_mapped { memory.weights } else { 0.0 };
    let needed = shared + on_device * (memory.total() - shared);
    if needed > memory.total() {
        line("  all processes", bytes(needed));
    }
    let fits = match free_bytes(device) {
        None => "unknown: this machine does not say how much memory the device has".to_owned(),
        Some(free) if needed <= free => format!("yes: {} free", bytes(free)),
        Some(free) => format!(
            "no: {} free; try a smaller micro_batch_size or cutoff_len, --gradient_checkpointing{}",
            bytes(free),
            if kind == Kind::Float && !run.full { ", --dtype bfloat16" } else { "" }
        ),
    };
    line("fits", fits);
    Ok(text)
}
