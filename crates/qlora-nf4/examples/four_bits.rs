//! A weight in 4 bits: its size, its error, and a product with it.
#![expect(clippy::print_stdout, reason = "an example shows what it found")]

// ANCHOR: readme
use std::error::Error;

use nn_core::Mode;
use qlora_nf4::{Code4, Config4, Quantization, Tensor4};
use tch::{Device, Kind, Tensor};

fn main() -> Result<(), Box<dyn Error>> {
    tch::manual_seed(1);
    let weight = Tensor::randn([1024, 1024], (Kind::Float, Device::Cpu)) * 0.02; // [out, in]
    for double_quant in [false, true] {
        let config = Config4::new(Code4::Nf4, double_quant);
        let quantized = Tensor4::quantize(&weight, config)?;
        let bits = 8.0 * quantized.num_bytes() as f64 / weight.numel() as f64;
        let error = (quantized.dequantize(Kind::Float)? - &weight).norm() / weight.norm();
        println!("{bits:.3} bits a weight, relative error {:.4}", error.double_value(&[]));
    }

    let config = Config4::new(Code4::Nf4, true);
    let layer = Quantization::Four(config).linear("q_proj", &weight, None, Device::Cpu)?;
    let xs = Tensor::randn([1, 1024], (Kind::Float, Device::Cpu));
    println!("{:?}", layer.forward(&xs, Mode::Eval)?.size()); // [1, 1024]
    Ok(())
}
// ANCHOR_END: readme
