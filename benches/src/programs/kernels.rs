//! Kernels of quantised weights on a GPU (`benches/gpu.sh`): bytes a second beside those of a copy.

use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Parser;
use qlora_nf4::{Quantization, product};
use serde::Serialize;
use tch::{Cuda, Device, Kind, Tensor, no_grad_guard};
use terminal::print;

use llama_finetune::{DeviceChoice, set_threads};

/// Time dequantising, quantising and products of a few rows in bfloat16. Prints GB/s (10⁹) as JSON.
#[derive(Debug, Parser)]
#[command(name = "bench-kernels", version)]
pub struct KernelsArgs {
    /// Height of a weight
    #[arg(long, default_value_t = 11008)]
    outputs: i64,
    /// Width of a weight
    #[arg(long, default_value_t = 4096)]
    inputs: i64,
    /// Weights that take turns, so that no cache holds them
    #[arg(long, default_value_t = 16)]
    weights: usize,
    /// Turns of all weights
    #[arg(long, default_value_t = 10)]
    repeats: usize,
    #[arg(long, default_value = "cuda")]
    device: DeviceChoice,
    #[arg(long)]
    threads: Option<usize>,
}

/// Bytes read and written, a second.
#[derive(Debug, Serialize)]
struct Rates {
    device: String,
    /// Copy of one tensor onto another: the bound that memory sets.
    copy_gb_per_s: f64,
    quantize_gb_per_s: f64,
    dequantize_gb_per_s: f64,
    /// Products of weights in bfloat16, by libtorch, with one row.
    dense_gb_per_s: f64,
    products: Vec<Products>,
}

/// Products with so many rows of inputs.
#[derive(Debug, Serialize)]
struct Products {
    rows: i64,
    nf4_gb_per_s: f64,
    int8_gb_per_s: f64,
    /// Times as fast as a product of the same weight in bfloat16.
    nf4_of_dense: f64,
    int8_of_dense: f64,
}

/// Runs the program.
///
/// # Errors
/// When there is not the memory.
#[expect(clippy::needless_pass_by_value, reason = "programs are given their arguments")]
pub fn run(args: KernelsArgs) -> Result<()> {
    let KernelsArgs { outputs, inputs, weights, repeats, device, threads } = args;
    if outputs < 1 || inputs < 1 || weights == 0 || repeats == 0 {
        bail!("outputs, inputs, weights and repeats have to be at least 1");
    }
    set_threads(threads)?;
    let device = device.start()?;
    let _guard = no_grad_guard();
    let bench = Bench { device, weights, repeats };
    let random = |shape: [i64; 2]| Tensor::f_randn(shape, (Kind::BFloat16, device));
    let dense = (0..weights).map(|_| random([outputs, inputs])).collect::<Result<Vec<_>, _>>()?;
    let nf4 = "nf4".parse::<Quantization>()?.with_double_quant(true)?;
    let int8: Quantization = "int8".parse()?;
    let four = dense.iter().map(|dense| nf4.quantize(dense)).collect::<Result<Vec<_>, _>>()?;
    let eight = dense.iter().map(|dense| int8.quantize(dense)).collect::<Result<Vec<_>, _>>()?;
    let dense_bytes = 2 * dense[0].numel();
    let mut buffer = dense[0].f_zeros_like()?;
    let rate = |bytes: usize, seconds: f64| bytes as f64 / seconds / 1e9;

    let copy_s = bench.seconds(|i| Ok(buffer.f_copy_(&dense[i])?))?;
    let quantize_s = bench.seconds(|i| Ok(nf4.quantize(&dense[i])?))?;
    let dequantize_s = bench.seconds(|i| Ok(four[i].fill(&mut buffer, 0, 0)?))?;
    let mut products = Vec::new();
    let mut dense_gb_per_s = 0.0;
    for rows in [1, 4, 16] {
        let xs = random([rows, inputs])?;
        let dense_s = bench.seconds(|i| Ok(xs.f_linear(&dense[i], None::<&Tensor>)?))?;
        let nf4_s = bench.seconds(|i| Ok(product(&*four[i], &xs)?))?;
        let int8_s = bench.seconds(|i| Ok(product(&*eight[i], &xs)?))?;
        if rows == 1 {
            dense_gb_per_s = rate(dense_bytes, dense_s);
        }
        products.push(Products {
            rows,
            nf4_gb_per_s: rate(four[0].num_bytes(), nf4_s),
            int8_gb_per_s: rate(eight[0].num_bytes(), int8_s),
            nf4_of_dense: dense_s / nf4_s,
            int8_of_dense: dense_s / int8_s,
        });
    }
    let both = dense_bytes + four[0].num_bytes();
    let rates = Rates {
        device: DeviceChoice::from(device).to_string(),
        copy_gb_per_s: rate(2 * dense_bytes, copy_s),
        quantize_gb_per_s: rate(both, quantize_s),
        dequantize_gb_per_s: rate(both, dequantize_s),
        dense_gb_per_s,
        products,
    };
    print(&format!("{}\n", serde_json::to_string(&rates).context("cannot write the result")?));
    Ok(())
}

struct Bench {
    device: Device,
    weights: usize,
    repeats: usize,
}

impl Bench {
    /// Times one call, of calls that follow each other with every weight in turn; the fastest turn counts.
    fn seconds<T>(&self, mut call: impl FnMut(usize) -> Result<T>) -> Result<f64> {
        let mut best = f64::INFINITY;
        for _ in 0..=self.repeats {
            self.wait();
            let start = Instant::now();
            for index in 0..self.weights {
                drop(call(index)?);
            }
            self.wait();
            best = best.min(start.elapsed().as_secs_f64() / self.weights as f64);
        }
        Ok(best)
    }

    fn wait(&self) {
        if let Device::Cuda(index) = self.device {
            Cuda::synchronize(index as i64);
        }
    }
}
