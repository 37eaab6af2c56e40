//! Our side of `cargo xtask bench decode`: one prompt continued over and over, and how fast memory can be read.

use std::hint::black_box;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Parser;
use llama_model::Llama;
use lora::LoraAdapters;
use nn_core::CausalLm;
use qlora_nf4::Quantization;
use serde::Serialize;
use tch::{Device, Tensor};
use terminal::print;

use checkpoint::{Base, linears};
use llama_finetune::{DeviceChoice, QuantizationChoice, peak_device_mib, set_threads};

/// Time the continuation of a prompt, token by token (the peer is `benches/decode.py`).
#[derive(Debug, Parser)]
#[command(name = "bench-decode", version)]
pub struct DecodeArgs {
    #[arg(long = "base_model")]
    base_model: String,
    /// Directory of a PEFT adapter
    #[arg(long = "lora_weights")]
    lora_weights: Option<PathBuf>,
    #[arg(long = "prompt_tokens", default_value_t = 5)]
    prompt_tokens: usize,
    #[arg(long = "new_tokens")]
    new_tokens: usize,
    /// Times that the prompt is continued
    #[arg(long, default_value_t = 1)]
    repeats: usize,
    #[arg(long, default_value = "float32")]
    dtype: String,
    #[arg(long, default_value = "none", help = format!("Quantise the linear layers while loading: {}", Quantization::names()))]
    quantize: String,
    /// The scales of nf4 and fp4 too
    #[arg(long = "double_quant")]
    double_quant: bool,
    #[arg(long, default_value = "cpu")]
    device: DeviceChoice,
    #[arg(long)]
    threads: Option<usize>,
    /// Measure too how fast this many MiB of memory are read
    #[arg(long = "read_mib", default_value_t = 0)]
    read_mib: usize,
}

/// Result of one side of the comparison.
#[derive(Debug, Serialize)]
struct Decoded {
    /// From the opened base to a model that can answer, adapter included.
    load_s: f64,
    /// From the prompt to its first token, for each repeat.
    first_token_s: Vec<f64>,
    /// Seconds of each later token, of all repeats.
    token_s: Vec<f64>,
    /// The new tokens of the last repeat.
    ids: Vec<i64>,
    /// Bytes that one token reads at least: all weights but the embedding, of which it reads a row.
    weight_bytes: u64,
    threads: i32,
    peak_host_mib: u64,
    peak_device_mib: Option<u64>,
    /// Private memory after the first repeat and at the end.
    private_kib: [u64; 2],
    read_gb_per_s: Option<f64>,
}

/// Runs `bench-decode`.
///
/// # Errors
/// When the model cannot be read or a step fails.
pub fn run(args: DecodeArgs) -> Result<()> {
    let DecodeArgs {
        base_model,
        lora_weights,
        quantize,
        double_quant,
        prompt_tokens,
        new_tokens,
        repeats,
        dtype,
        device,
        threads,
        read_mib,
    } = args;
    if prompt_tokens == 0 || new_tokens == 0 || repeats == 0 {
        bail!("prompt_tokens, new_tokens and repeats have to be at least 1");
    }
    set_threads(threads)?;
    let device = device.start()?;
    let quantization = quantize.parse::<QuantizationChoice>()?.with_double_quant(double_quant)?;
    let base = Base::open(&base_model)?;
    let loading = Instant::now();
    let mut model = base.load_quantized(device, dtype.parse()?, quantization)?;
    if let Some(dir) = &lora_weights {
        LoraAdapters::load(&mut model, dir)
            .with_context(|| format!("cannot load adapter `{}`", dir.display()))?;
    }
    let load_s = loading.elapsed().as_secs_f64();
    let prompt = prompt(prompt_tokens, model.vocab_size());
    let mut result = Decoded {
        load_s,
        first_token_s: Vec::new(),
        token_s: Vec::new(),
        ids: Vec::new(),
        weight_bytes: weight_bytes(&model, quantization.or(base.stored_quantization()?)),
        threads: tch::get_num_threads(),
        peak_host_mib: 0,
        peak_device_mib: None,
        private_kib: [0; 2],
        read_gb_per_s: None,
    };
    for repeat in 0..repeats {
        result.ids.clear();
        let mut last = Instant::now();
        let mut session = model.open(1, prompt.len() + new_tokens)?;
        let mut logits = session.prefill(&[(0, &prompt)])?;
        for index in 0..new_tokens {
            let token = most_probable(&logits)?;
            let now = Instant::now();
            let times = if index == 0 { &mut result.first_token_s } else { &mut result.token_s };
            times.push((now - last).as_secs_f64());
            last = now;
            result.ids.push(token);
            if index + 1 < new_tokens {
                logits = session.step(&[(0, token)])?;
            }
        }
        drop(session);
        result.private_kib[usize::from(repeat > 0)] = torch_ext::process_memory().private_bytes >> 10;
    }
    result.peak_host_mib = torch_ext::process_memory().peak_bytes >> 20;
    result.peak_device_mib = peak_device_mib(&[device])?;
    if read_mib > 0 {
        result.read_gb_per_s = Some(read_bandwidth(read_mib, result.threads.max(1) as usize));
    }
    let text = serde_json::to_string(&result).context("cannot write the result")?;
    print(&format!("{text}\n"));
    Ok(())
}

/// Returns the bytes of all weights but the embedding, unless that is the head too.
fn weight_bytes(model: &Llama, quantization: Option<Quantization>) -> u64 {
    let config = model.config();
    let embedding = if config.tie_word_embeddings { 0 } else { config.vocab_size * config.hidden_size };
    let all = (config.num_parameters() - embedding) as f64;
    let plain = model.kind().elt_size_in_bytes() as f64;
    let linear: i64 = linears(config).iter().map(|one| one.rows * one.columns).sum();
    let quantised = quantization.map_or(linear as f64 * plain, |quantization| quantization.bytes(linear));
    ((all - linear as f64) * plain + quantised) as u64
}

/// Returns the prompt of both sides: ids spread over the vocabulary, leaving out the special ones at its start.
fn prompt(tokens: usize, vocab_size: usize) -> Vec<i64> {
    (0..tokens).map(|i| (3 + i * 7919 % (vocab_size - 3)) as i64).collect()
}

fn most_probable(logits: &Tensor) -> Result<i64> {
    Ok(logits.f_argmax(-1, false)?.f_to(Device::Cpu)?.f_int64_value(&[0])?)
}

/// Measures the bandwidth in GB/s (10⁹) at which `threads` threads read together: the best of five passes over a buffer that no
/// cache holds.
fn read_bandwidth(mib: usize, threads: usize) -> f64 {
    let words = vec![1u64; mib << 17];
    let pass = || {
        let start = Instant::now();
        std::thread::scope(|scope| {
            for part in words.chunks(words.len().div_ceil(threads)) {
                scope.spawn(move || black_box(part.iter().fold(0u64, |sum, word| sum.wrapping_add(*word))));
            }
        });
        (words.len() * 8) as f64 / start.elapsed().as_secs_f64() / 1e9
    };
    (0..5).map(|_| pass()).fold(0.0, f64::max)
}
