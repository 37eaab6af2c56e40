//! The contracts met once: a source of weights, a slot, and an operation put around what is in it.
#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use std::error::Error;

use nn_core::{
    IGNORE_INDEX, LinearOp, LinearSlot, LinearSource, Mode, ModulePath, NnError, SharedLeaves, TokenBatch,
};
use tch::{Device, Kind, Tensor};

// ANCHOR: readme
/// Every weight is ones.
struct Ones;

impl LinearSource for Ones {
    fn tensor(&self, _name: &str, shape: &[i64]) -> Result<Tensor, NnError> {
        Ok(Tensor::ones(shape, (Kind::Float, Device::Cpu)))
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = ModulePath::new("model.layers.0.self_attn").join("q_proj");
    let mut slot = LinearSlot::new(Ones.linear(&path, 3, 2, false)?);
    slot.wrap(|inner| Box::new(Doubled(inner)));
    let xs = Tensor::from_slice(&[1f32, 2., 3.]).view([1, 3]);
    let ys = Vec::<f32>::try_from(slot.get().forward(&xs, Mode::Eval)?.get(0))?;
    println!("{path}: {ys:?}"); // [12.0, 12.0]

    let batch =
        TokenBatch::from_sequences([([1, 7, 8].as_slice(), [IGNORE_INDEX, IGNORE_INDEX, 8].as_slice())]);
    println!("(positions, labels) that count: {:?}", batch.targets()); // ([1], [8])
    Ok(())
}
// ANCHOR_END: readme

/// Twice what another layer says.
#[derive(Debug)]
struct Doubled(Box<dyn LinearOp>);

impl LinearOp for Doubled {
    fn in_features(&self) -> i64 {
        self.0.in_features()
    }

    fn out_features(&self) -> i64 {
        self.0.out_features()
    }

    fn device(&self) -> Device {
        self.0.device()
    }

    fn forward(&self, xs: &Tensor, mode: Mode) -> Result<Tensor, NnError> {
        Ok(self.0.forward(xs, mode)? * 2.0)
    }

    fn dense_weight(&self, kind: Kind) -> Result<Tensor, NnError> {
        Ok(self.0.dense_weight(kind)? * 2.0)
    }

    fn share(&self, leaves: &SharedLeaves) -> Box<dyn LinearOp> {
        Box::new(Self(self.0.share(leaves)))
    }
}
