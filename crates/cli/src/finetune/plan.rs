//! `finetune --plan`: memory, time and disk of a run, from the settings and the records alone.

use alpaca_data::{PromptTemplate, Templates};
use anyhow::Result;
use checkpoint::{Base, auto_kind};
use llama_finetune::{
    DeviceChoice, DiskPlan, MemoryPlan, RunPlan, RunShape, TimePlan, TrainingData, adapter_parameters,
    chat_template, free_bytes, grown_vocabulary, set_threads,
};
use nn_core::{Dtype, UnknownSettings};
use qlora_nf4::Quantization;
use tch::Kind;

use super::settings::FinetuneConfig;

/// Plans a run.
///
/// # Errors
/// When the base's configuration cannot be read or a target names no layer.
pub(crate) fn plan(run: &FinetuneConfig, unknown: UnknownSettings, processes: usize) -> Result<RunPlan> {
    set_threads(run.threads)?;
    let base = Base::open_with(&run.base_model, unknown)?;
    let shape = &base.config;
    // A GPU that was named is planned for wherever the run will be; `auto` is what this machine can use.
    let started = run.device.start();
    let device = match run.device {
        DeviceChoice::Cuda(index) => tch::Device::Cuda(index.unwrap_or(0)),
        _ => *started.as_ref().unwrap_or(&tch::Device::Cpu),
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
    let time = || {
        let tokenizer = base.tokenizer()?;
        let prompt = PromptTemplate::load(&run.prompt_template_name)?;
        let templates = Templates { prompt, chat: chat_template(&base, &tokenizer)? };
        let data = TrainingData::load(&run.data(), &templates, &tokenizer)?;
        Ok::<_, anyhow::Error>(TimePlan::measure(shape, &planned, &run.train(), &data, started?)?)
    };
    let (time, no_time) = match time() {
        Ok(time) => (Some(time), None),
        Err(error) => (None, Some(format!("{error:#}"))),
    };
    let steps = time.map(|time| time.steps);
    Ok(RunPlan {
        base_model: run.base_model.clone(),
        parameters: shape.num_parameters(),
        trainable_parameters: trainable,
        device: if cuda { "cuda" } else { "cpu" },
        dtype: Dtype::name_of(kind),
        linear_layers: quantization.map(Quantization::describe),
        micro_batch_size: run.micro_batch_size,
        cutoff_len: run.cutoff_len,
        batch_size: run.batch_size,
        processes,
        optimizer: run.optim,
        mapped: !cuda && quantization.is_none() && Some(kind) == base.files().stored_kind(),
        memory: MemoryPlan::estimate(shape, &planned, cuda),
        free_memory: free_bytes(device),
        disk: DiskPlan::estimate(&planned, &run.train(), steps, &run.output_dir),
        time,
        no_time,
    })
}
