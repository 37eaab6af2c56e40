//! Two layers of two linears each, named as LLaMA's.

use lora::{LoraAdapters, LoraConfig, TargetModules, VariantName};
use nn_core::{DenseLinear, LinearSlot, Mode, ModulePath, VisitLinears};
use tch::{Device, Kind, Tensor};

pub(crate) const WIDTH: i64 = 12;
pub(crate) const OUT: i64 = 8;

/// Numbers between -1 and 1 without a pattern.
fn numbers(count: i64, from: usize) -> Tensor {
    let count = Tensor::arange(count, (Kind::Float, Device::Cpu)) + from as i64;
    (&count * &count * 0.37).sin()
}

/// A model that shows its slots; weights of one shape, different numbers.
#[derive(Debug)]
pub(crate) struct Toy(Vec<(ModulePath, LinearSlot)>);

impl Toy {
    pub(crate) fn new(kind: Kind) -> Self {
        let slot = |index: usize, leaf: &str| {
            let weight = numbers(OUT * WIDTH, 31 * index).view([OUT, WIDTH]).to_kind(kind);
            let path = ModulePath::new(format!("model.layers.{index}.self_attn.{leaf}"));
            (path, LinearSlot::new(Box::new(DenseLinear::new(weight, None))))
        };
        let leaves = ["q_proj", "v_proj"];
        Self((0..2).flat_map(|index| leaves.iter().map(move |leaf| slot(index, leaf))).collect())
    }

    /// Applies the layer in this slot to `xs`.
    pub(crate) fn forward(&self, slot: usize, xs: &Tensor, mode: Mode) -> Tensor {
        self.0[slot].1.get().forward(xs, mode).unwrap()
    }

    pub(crate) fn dense_weight(&self, slot: usize, kind: Kind) -> Tensor {
        self.0[slot].1.get().dense_weight(kind).unwrap()
    }
}

impl VisitLinears for Toy {
    fn visit_linears_mut(&mut self, visit: &mut dyn FnMut(&ModulePath, &mut LinearSlot)) {
        self.0.iter_mut().for_each(|(path, slot)| visit(path, slot));
    }
}

/// `alpha != r`, so that a wrong scale shows.
pub(crate) fn config() -> LoraConfig {
    let names = ["q_proj", "v_proj"].map(str::to_owned).to_vec();
    LoraConfig {
        r: 3,
        lora_alpha: 7.0,
        target_modules: Some(TargetModules::Names(names)),
        ..LoraConfig::default()
    }
}

/// The configuration of each variant.
pub(crate) fn every_variant() -> impl Iterator<Item = LoraConfig> {
    VariantName::known().map(|name| LoraConfig { variant: name.into(), ..config() })
}

/// Gives every tensor numbers that are not zero, others in each layer.
pub(crate) fn fill(adapters: &LoraAdapters) {
    tch::no_grad(|| {
        for (index, (_, mut factor)) in adapters.parameters().into_iter().enumerate() {
            let values = numbers(factor.numel() as i64, 100 + index) * 0.5;
            factor.copy_(&values.view_as(&factor));
        }
    });
}

/// A toy with adapters that do something.
pub(crate) fn adapted(config: &LoraConfig, kind: Kind) -> (Toy, LoraAdapters) {
    let mut toy = Toy::new(kind);
    let adapters = LoraAdapters::attach(&mut toy, config, 1).unwrap();
    fill(&adapters);
    (toy, adapters)
}

/// `[rows, WIDTH]`.
pub(crate) fn inputs(rows: i64) -> Tensor {
    numbers(rows * WIDTH, 7).view([rows, WIDTH])
}

pub(crate) fn max_difference(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    (a - b).abs().max().double_value(&[])
}
