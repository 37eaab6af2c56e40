//! Loops of a decoding step, and codes of few bits.
#![expect(clippy::print_stdout, reason = "an example shows what it found")]

// ANCHOR: readme
use std::error::Error;

use kernels::{Blocks4, CodeTable, linear, rms_norm};
use tch::{Device, Kind, Tensor};
use torch_ext::Generator;

static UNIFORM: CodeTable = CodeTable::new([
    -1.0, -0.87, -0.73, -0.6, -0.47, -0.33, -0.2, 0.0, 0.08, 0.2, 0.33, 0.47, 0.6, 0.73, 0.87, 1.0,
]);

fn main() -> Result<(), Box<dyn Error>> {
    let mut generator = Generator::new(Device::Cpu, 1)?;
    let mut weight = Tensor::zeros([1024, 256], (Kind::Float, Device::Cpu)); // [out, in]
    generator.normal_(&mut weight, 0.0, 0.02)?;
    let xs = rms_norm(&weight.narrow(0, 0, 1), &Tensor::ones([256], (Kind::Float, Device::Cpu)), 1e-6)?;
    let exact = linear(&xs, &weight, None)?; // [1, 1024]
    let blocks = Blocks4::quantize(&weight, &UNIFORM, 64, false)?;
    let near = blocks.product(&xs)?.ok_or("rows of 256 numbers have a loop")?;
    let error = (near - &exact).norm() / exact.norm();
    println!("{} bytes, error {:.3}", blocks.num_bytes(), error.double_value(&[]));
    Ok(())
}
// ANCHOR_END: readme
