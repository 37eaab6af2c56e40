//! Bindings that tch lacks: the loss without logits in memory, a checkpointed closure, this process's memory.
#![expect(clippy::print_stdout, reason = "an example shows what it found")]

// ANCHOR: readme
use std::error::Error;

use tch::{Device, Kind, TchError, Tensor};
use torch_ext::{checkpoint, linear_cross_entropy, process_memory};

fn main() -> Result<(), Box<dyn Error>> {
    let options = (Kind::Float, Device::Cpu);
    let hidden = Tensor::randn([32, 64], options).set_requires_grad(true); // [N, C]
    let head = Tensor::randn([5000, 64], options); // [V, C]; frozen, so it gets no gradient
    let labels = Tensor::arange(32, (Kind::Int64, Device::Cpu));
    let squashed = checkpoint(&hidden, |xs: &Tensor| Ok::<_, TchError>(xs.tanh()))?;
    let loss = linear_cross_entropy(&squashed, &head, &labels)?;
    loss.backward();
    println!("loss {:.1}, gradient {:?}", loss.double_value(&[]), hidden.grad().size());
    println!("{} MiB private", process_memory().private_bytes >> 20);
    Ok(())
}
// ANCHOR_END: readme
