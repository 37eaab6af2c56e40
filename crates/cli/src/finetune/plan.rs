//! `finetune --plan`: memory, time and disk of a run, from the settings and the records alone.

use alpaca_data::{PromptTemplate, Templates};
use anyhow::Result;
use checkpoint::Base;
use llama_finetune::{
    DeviceChoice, DiskPlan, MemoryPlan, PartBytes, RunPlan, RunShape, TimePlan, TrainingData,
    adapter_parameters, chat_template, free_bytes, grown_vocabulary, set_threads,
};
use nn_core::{Dtype, UnknownSettings};
use qlora_nf4::Quantization;
use tch::{Device, Kind};

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
    let trainable = trainable(run, &base)?;
    let planned = run_shape(run, &base, device, trainable)?;
    let RunShape { kind, quantization, .. } = planned;
    let parts = run.device_map.parts(device, &PartBytes::of_run(shape, &planned));
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
        parts,
        disk: DiskPlan::estimate(&planned, &run.train(), steps, &run.output_dir),
        time,
        no_time,
    })
}

/// Counts the values that train.
///
/// # Errors
/// When a target names no layer, or is a regular expression, which only the loaded model resolves.
pub(crate) fn trainable(run: &FinetuneConfig, base: &Base) -> Result<i64> {
    let wanted = if run.resize_vocab { Some(base.tokenizer()?.vocab_size() as i64) } else { None };
    let (lora, vocab_size) = grown_vocabulary(&base.config, wanted, run.lora());
    if run.full {
        Ok(base.config.num_parameters())
    } else {
        Ok(adapter_parameters(&base.config, &lora, vocab_size)?)
    }
}

/// Gathers the settings that the memory of a run depends on.
///
/// # Errors
/// When the configuration of the base says something that there is not.
pub(crate) fn run_shape(
    run: &FinetuneConfig,
    base: &Base,
    device: Device,
    trainable: i64,
) -> Result<RunShape> {
    let quantization = run.quantization()?.or(base.stated_quantization()?);
    Ok(RunShape {
        kind: if run.full { Kind::Float } else { base.kind(device, run.dtype, quantization) },
        quantization,
        trainable,
        full: run.full,
        lora_dropout: run.lora_dropout,
        gradient_checkpointing: run.gradient_checkpointing,
        micro_batch_size: run.micro_batch_size,
        cutoff_len: run.cutoff_len,
        optimizer: run.optim,
    })
}
