//! A weight in 4 bits: its size, its error, and a product with it.
#![expect(clippy::print_stdout, reason = "an example shows what it found")]

// ANCHOR: readme
use std::error::Error;

use nn_core::Mode;
use qlora_nf4::Quantization;
use tch::{Device, Kind, Tensor};
use torch_ext::Generator;

fn main() -> Result<(), Box<dyn Error>> {
    let mut generator = Generator::new(Device::Cpu, 1)?;
    let mut weight = Tensor::zeros([1024, 1024], (Kind::Float, Device::Cpu)); // [out, in]
    generator.normal_(&mut weight, 0.0, 0.02)?;
    let nf4: Quantization = "nf4".parse()?;
    for quantization in [nf4, nf4.with_double_quant(true)?] {
        let quantized = quantization.quantize(&weight)?;
        let bits = 8.0 * quantized.num_bytes() as f64 / weight.numel() as f64;
        let error = (quantized.dequantize(Kind::Float)? - &weight).norm() / weight.norm();
        println!("{bits:.3} bits a weight, relative error {:.4}", error.double_value(&[]));
    }

    let layer = nf4.linear("q_proj", &weight, None, Device::Cpu)?;
    let xs = Tensor::ones([1, 1024], (Kind::Float, Device::Cpu));
    println!("{:?}", layer.forward(&xs, Mode::Eval)?.size()); // [1, 1024]
    Ok(())
}
// ANCHOR_END: readme
