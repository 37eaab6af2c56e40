//! An adapter on a model of one layer: attached, trained by hand for a step, saved, and read back.
#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use std::error::Error;

use lora::{LoraAdapters, LoraConfig, TargetModules};
use nn_core::{DenseLinear, LinearSlot, Mode, ModulePath, VisitLinears};
use tch::{Device, Kind, Tensor, no_grad};

// ANCHOR: readme
fn main() -> Result<(), Box<dyn Error>> {
    let mut model = OneLayer::new();
    let targets = TargetModules::Names(vec!["q_proj".to_owned()]);
    let config = LoraConfig { r: 4, lora_alpha: 8.0, target_modules: Some(targets), ..LoraConfig::default() };
    let adapters = LoraAdapters::attach(&mut model, &config, 42)?;
    println!("{} numbers to train", adapters.num_parameters()); // 4 * (16 + 8)

    let xs = Tensor::ones([1, 16], (Kind::Float, Device::Cpu));
    model.q_proj.get().forward(&xs, Mode::Train { seed: 1 })?.sum(Kind::Float).backward();
    for (_, mut factor) in adapters.parameters() {
        let step = factor.grad() * 0.1;
        let _ = no_grad(|| factor.subtract_(&step));
    }

    let dir = std::env::temp_dir().join("example-adapter");
    std::fs::create_dir_all(&dir)?;
    adapters.save(&dir)?; // what Python's PEFT reads
    println!("{} tensors", adapters.verify_saved(&dir)?);
    let again = LoraAdapters::load(&mut OneLayer::new(), &dir)?;
    println!("{} adapted layer read back", again.layers().len());
    Ok(())
}
// ANCHOR_END: readme

/// A model that shows one place for a linear layer.
struct OneLayer {
    path: ModulePath,
    q_proj: LinearSlot,
}

impl OneLayer {
    fn new() -> Self {
        let weight = Tensor::ones([8, 16], (Kind::Float, Device::Cpu));
        Self {
            path: ModulePath::new("model.layers.0.self_attn.q_proj"),
            q_proj: LinearSlot::new(Box::new(DenseLinear::new(weight, None))),
        }
    }
}

impl VisitLinears for OneLayer {
    fn visit_linears_mut(&mut self, visit: &mut dyn FnMut(&ModulePath, &mut LinearSlot)) {
        visit(&self.path, &mut self.q_proj);
    }
}
