//! Our side of `cargo xtask bench nf4`: products, quantising and dequantising on a CPU.

use std::time::Instant;

use anyhow::Result;
use clap::Parser;
use qlora_nf4::{Quantization, product};
use serde::Serialize;
use tch::{Device, Kind, Tensor, no_grad_guard};
use terminal::print;

use llama_finetune::set_threads;

/// Time products with 4-bit and 8-bit weights. Prints milliseconds as JSON.
#[derive(Debug, Clone, Copy, Parser)]
#[command(name = "bench-nf4", version)]
pub struct Args {
    /// Width and height of a weight
    #[arg(long, default_value_t = 4096)]
    size: i64,
    /// Weights that take turns, so that no cache holds them
    #[arg(long, default_value_t = 16)]
    weights: usize,
    /// Rows of the large product
    #[arg(long, default_value_t = 256)]
    rows: i64,
    /// Repetitions of each
    #[arg(long, default_value_t = 32)]
    repeats: usize,
    #[arg(long)]
    threads: Option<usize>,
}

/// Milliseconds of each repetition, and bytes that a product reads.
#[derive(Debug, Serialize)]
struct Times {
    threads: i32,
    read_gb_per_s: f64,
    nf4_bytes: usize,
    int8_bytes: usize,
    nf4_matvec_ms: Vec<f64>,
    nf4_matvec_bf16_ms: Vec<f64>,
    int8_matvec_ms: Vec<f64>,
    bf16_matvec_ms: Vec<f64>,
    fp32_matvec_ms: Vec<f64>,
    nf4_batch_bf16_ms: Vec<f64>,
    nf4_batch_fp32_ms: Vec<f64>,
    quantize_ms: Vec<f64>,
    dequantize_bf16_ms: Vec<f64>,
    dequantize_fp32_ms: Vec<f64>,
    dequantize_again_bf16_ms: Vec<f64>,
}

/// Runs the program.
///
/// # Errors
/// When there is not the memory.
pub fn run(args: Args) -> Result<()> {
    let Args { size, weights, rows, repeats, threads } = args;
    set_threads(threads)?;
    let _guard = no_grad_guard();
    let options = (Kind::Float, Device::Cpu);
    let random = || Ok::<_, anyhow::Error>(Tensor::f_randn([size, size], options)?.f_mul_scalar(0.02)?);
    let dense = (0..4).map(|_| random()).collect::<Result<Vec<_>>>()?;
    let (nf4, int8): (Quantization, Quantization) = ("nf4".parse()?, "int8".parse()?);
    let four = (0..weights).map(|i| nf4.quantize(&dense[i % 4])).collect::<Result<Vec<_>, _>>()?;
    let eight = (0..weights.min(8)).map(|i| int8.quantize(&dense[i % 4]));
    let eight = eight.collect::<Result<Vec<_>, _>>()?;
    let half = (0..8).map(|i| dense[i % 4].f_to_dtype(Kind::BFloat16, false, true));
    let half = half.collect::<Result<Vec<_>, _>>()?;
    let (x, xs) = (Tensor::f_randn([1, size], options)?, Tensor::f_randn([rows, size], options)?);
    let (x16, xs16) = (x.f_to_kind(Kind::BFloat16)?, xs.f_to_kind(Kind::BFloat16)?);
    let none = None::<&Tensor>;
    let few = repeats.div_ceil(4);
    // Where products dequantise to: memory that is there already.
    let mut buffer = half[0].f_zeros_like()?;
    let result = Times {
        threads: tch::get_num_threads(),
        read_gb_per_s: read_bandwidth(&half)?,
        nf4_bytes: four[0].num_bytes(),
        int8_bytes: eight[0].num_bytes(),
        nf4_matvec_ms: time(repeats, |i| Ok(product(&*four[i % weights], &x)?))?,
        nf4_matvec_bf16_ms: time(repeats, |i| Ok(product(&*four[i % weights], &x16)?))?,
        int8_matvec_ms: time(repeats, |i| Ok(product(&*eight[i % eight.len()], &x)?))?,
        bf16_matvec_ms: time(repeats, |i| Ok(x16.f_linear(&half[i % 8], none)?))?,
        fp32_matvec_ms: time(repeats, |i| Ok(x.f_linear(&dense[i % 4], none)?))?,
        nf4_batch_bf16_ms: time(few, |i| Ok(product(&*four[i % weights], &xs16)?))?,
        nf4_batch_fp32_ms: time(few, |i| Ok(product(&*four[i % weights], &xs)?))?,
        quantize_ms: time(few, |i| Ok(nf4.quantize(&dense[i % 4])?))?,
        dequantize_bf16_ms: time(few, |i| Ok(four[i % weights].dequantize(Kind::BFloat16)?))?,
        dequantize_fp32_ms: time(few, |i| Ok(four[i % weights].dequantize(Kind::Float)?))?,
        dequantize_again_bf16_ms: time(few, |i| Ok(four[i % weights].fill(&mut buffer, 0, 0)?))?,
    };
    print(&format!("{}\n", serde_json::to_string(&result)?));
    Ok(())
}

/// Milliseconds of each call after two that warm up.
fn time<T>(repeats: usize, mut call: impl FnMut(usize) -> Result<T>) -> Result<Vec<f64>> {
    let mut all = Vec::with_capacity(repeats);
    for index in 0..repeats + 2 {
        let start = Instant::now();
        let result = call(index)?;
        let elapsed_ms = start.elapsed().as_secs_f64() * 1e3;
        drop(result);
        if index >= 2 {
            all.push(elapsed_ms);
        }
    }
    Ok(all)
}

/// Measures the rate at which all threads together read memory, in GB/s: sums over tensors that no cache holds, the fastest of some.
fn read_bandwidth(tensors: &[Tensor]) -> Result<f64> {
    let mut best = 0.0f64;
    for _ in 0..5 {
        for tensor in tensors {
            let numbers = tensor.f_view_dtype(Kind::Float)?;
            let start = Instant::now();
            let sum = numbers.f_sum(Kind::Float)?;
            let seconds = start.elapsed().as_secs_f64();
            drop(sum);
            best = best.max(numbers.numel() as f64 * 4.0 / seconds / 1e9);
        }
    }
    Ok(best)
}
