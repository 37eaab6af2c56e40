//! `bench-step`: one training step over and over.

use std::path::PathBuf;
use std::time::Instant;

use alpaca_data::{BadRecords, Example, PromptTemplate, TokenizeConfig, load_records, tokenize_records};
use anyhow::{Context, Result, bail};
use clap::Parser;
use lora::{LoraAdapters, LoraConfig, TargetModules};
use qlora_nf4::Quantization;
use serde::Serialize;
use terminal::print;
use trainer::{Optimizer, StepOutcome, StepSettings, StopFlag, TrainConfig, optimizer_step};

use super::products::{product_rate, step_gflop};
use checkpoint::Base;
use llama_finetune::{DeviceChoice, LoraModel, QuantizationChoice, set_threads};
use nn_core::{Dataset, Trainable};

/// Time training steps: forward, backward, clip, update (the peer is `benches/train_step.py`).
#[derive(Debug, Parser)]
#[command(name = "bench-step", version)]
pub struct StepArgs {
    #[arg(long = "base_model")]
    base_model: String,
    #[arg(long = "data_path")]
    data_path: PathBuf,
    #[arg(long)]
    steps: usize,
    #[arg(long = "batch_size", default_value_t = 8)]
    batch_size: usize,
    #[arg(long = "cutoff_len", default_value_t = 256)]
    cutoff_len: usize,
    #[arg(long = "lora_r", default_value_t = 8)]
    lora_r: i64,
    #[arg(long = "lora_alpha", default_value_t = 16.0)]
    lora_alpha: f64,
    #[arg(long = "lora_dropout", default_value_t = 0.05)]
    lora_dropout: f64,
    #[arg(long = "lora_target_modules", num_args = 1.., default_values = ["q_proj", "v_proj"])]
    lora_target_modules: Vec<String>,
    #[arg(long = "learning_rate", default_value_t = 1e-3)]
    learning_rate: f64,
    #[arg(long, default_value = "float32")]
    dtype: String,
    #[arg(long, default_value = "none", help = format!("Quantise the linear layers while loading: {}", Quantization::names()))]
    quantize: String,
    /// Records of this many tokens each, cut from those of the file in a row
    #[arg(long = "seq_len")]
    seq_len: Option<usize>,
    /// Batches of records of nearly the same length, around the median
    #[arg(long = "group_by_length")]
    group_by_length: bool,
    /// Measure too how fast libtorch multiplies at the shapes of the step
    #[arg(long = "product_rate")]
    product_rate: bool,
    #[arg(long, default_value = "cpu")]
    device: DeviceChoice,
    #[arg(long)]
    threads: Option<usize>,
    #[arg(long = "gradient_checkpointing")]
    gradient_checkpointing: bool,
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Result of one side of the comparison.
#[derive(Debug, Serialize)]
struct Steps {
    seconds_per_step: Vec<f64>,
    tokens_per_step: Vec<usize>,
    loss: Vec<f64>,
    threads: i32,
    peak_device_mib: Option<u64>,
    peak_host_mib: u64,
    /// Operations of a step, in 10⁹.
    gflop_per_step: Vec<f64>,
    product_gflop_per_s: Option<f64>,
}

/// Steps that are run and not timed.
const WARM_UP: usize = 2;

/// Runs `bench-step`.
///
/// # Errors
/// When the model or the data cannot be read, or a step fails.
pub fn run(args: StepArgs) -> Result<()> {
    set_threads(args.threads)?;
    let device = args.device.start()?;
    let base = Base::open(&args.base_model)?;
    let tokenizer = base.tokenizer()?;
    let records = load_records(&args.data_path, BadRecords::Refuse)?.records;
    let tokenize = TokenizeConfig { cutoff_len: args.cutoff_len, ..TokenizeConfig::default() };
    let (mut examples, _) =
        tokenize_records(&records, &PromptTemplate::load("alpaca")?, &tokenizer, &tokenize)?;
    if let Some(seq_len) = args.seq_len {
        let ids: Vec<i64> = examples.iter().flat_map(|example| example.input_ids.iter().copied()).collect();
        let piece = |ids: &[i64]| Example { input_ids: ids.to_vec(), labels: ids.to_vec() };
        examples = ids.chunks_exact(seq_len.max(1)).map(piece).collect();
    }
    if args.group_by_length {
        examples.sort_by_key(|example| example.input_ids.len());
        let needed = (WARM_UP + args.steps) * args.batch_size;
        let first = examples.len().saturating_sub(needed) / 2;
        examples.rotate_left(first);
    }
    if examples.is_empty() {
        bail!("`{}` has fewer tokens than seq_len", args.data_path.display());
    }
    let quantization = args.quantize.parse::<QuantizationChoice>()?.with_double_quant(false)?;
    let mut model = base.load_quantized(device, args.dtype.parse()?, quantization)?;
    let (shape, kind) = (model.config().clone(), model.kind());
    model.set_gradient_checkpointing(args.gradient_checkpointing);
    let config = LoraConfig {
        r: args.lora_r,
        lora_alpha: args.lora_alpha,
        lora_dropout: args.lora_dropout,
        target_modules: Some(TargetModules::Names(args.lora_target_modules)),
        ..LoraConfig::default()
    };
    let adapters = LoraAdapters::attach(&mut model, &config, 0)?;
    let task = LoraModel::new(model, adapters);
    let mut optimizer = Optimizer::from_config(task.parameters(), &TrainConfig::default())?;
    let mut result = Steps {
        seconds_per_step: Vec::new(),
        tokens_per_step: Vec::new(),
        loss: Vec::new(),
        threads: tch::get_num_threads(),
        peak_device_mib: None,
        peak_host_mib: 0,
        gflop_per_step: Vec::new(),
        product_gflop_per_s: None,
    };
    for step in 0..WARM_UP + args.steps {
        let indices: Vec<usize> =
            (0..args.batch_size).map(|i| (step * args.batch_size + i) % examples.len()).collect();
        let batch = examples.batch(&indices);
        let settings = StepSettings {
            seed: step as u64,
            learning_rate: args.learning_rate,
            max_grad_norm: 1.0,
            time_phases: false,
            loss_scale: 1.0,
        };
        let gflop = step_gflop(&shape, &batch.seq_lens);
        let start = Instant::now();
        let outcome = optimizer_step(&task, &mut optimizer, &[batch], &settings, &StopFlag::new())?;
        if let tch::Device::Cuda(index) = device {
            tch::Cuda::synchronize(index as i64);
        }
        let elapsed_s = start.elapsed().as_secs_f64();
        let StepOutcome::Updated(stats) = outcome else { bail!("step {step} did not update: {outcome:?}") };
        if step >= WARM_UP {
            result.seconds_per_step.push(elapsed_s);
            result.tokens_per_step.push(stats.tokens);
            result.loss.push(stats.loss);
            result.gflop_per_step.push(gflop);
        }
    }
    if let tch::Device::Cuda(index) = device {
        result.peak_device_mib = Some(torch_ext::cuda::memory(index)?.peak_bytes >> 20);
    }
    result.peak_host_mib = torch_ext::process_memory().peak_bytes >> 20;
    if let (true, Some(&rows)) = (args.product_rate, result.tokens_per_step.last()) {
        result.product_gflop_per_s = Some(product_rate(&shape, kind, rows as i64)?);
    }
    let text = serde_json::to_string(&result)?;
    if let Some(path) = args.json {
        return std::fs::write(&path, text).with_context(|| format!("cannot write `{}`", path.display()));
    }
    print(&format!("{text}\n"));
    Ok(())
}
