//! Dropout is a function of the seed of the pass and of the layer.

use lora::{LoraAdapters, LoraConfig};
use nn_core::Mode;
use tch::{Kind, Tensor};

use crate::common::{Toy, adapted, config, every_variant, inputs, max_difference};

fn dropping() -> (Toy, LoraAdapters) {
    adapted(&LoraConfig { lora_dropout: 0.5, ..config() }, Kind::Float)
}

#[test]
fn dropout_is_a_function_of_the_seed() {
    for config in every_variant() {
        let (toy, _adapters) = adapted(&LoraConfig { lora_dropout: 0.5, ..config }, Kind::Float);
        let pass = |seed| toy.forward(0, &inputs(6), Mode::Train { seed });
        let first = pass(3);
        let other = pass(4);
        assert_eq!(first, pass(3));
        assert!(max_difference(&first, &other) > 0.01);
    }
}

#[test]
fn layers_drop_different_features_in_one_pass() {
    let (toy, adapters) = dropping();
    tch::no_grad(|| {
        let layers = adapters.layers();
        for layer in &layers[1..] {
            layer.a().shallow_clone().copy_(layers[0].a());
            layer.b().shallow_clone().copy_(layers[0].b());
        }
    });
    let base = Toy::new(Kind::Float);
    // Without its base each layer computes the same function, but for dropout.
    let branch =
        |slot, mode| toy.forward(slot, &inputs(6), mode) - base.forward(slot, &inputs(6), Mode::Eval);
    let branches: Vec<Tensor> = (0..4).map(|slot| branch(slot, Mode::Train { seed: 3 })).collect();
    for (slot, one) in branches.iter().enumerate() {
        assert!(max_difference(&branch(slot, Mode::Eval), &branch(0, Mode::Eval)) < 1e-4);
        for other in &branches[..slot] {
            assert!(max_difference(one, other) > 0.01);
        }
    }
}

#[test]
fn evaluation_drops_nothing() {
    let (toy, _adapters) = dropping();
    let (without, _plain) = adapted(&config(), Kind::Float);
    assert_eq!(toy.forward(1, &inputs(6), Mode::Eval), without.forward(1, &inputs(6), Mode::Eval));
    let trained = toy.forward(1, &inputs(6), Mode::Train { seed: 3 });
    assert!(max_difference(&trained, &toy.forward(1, &inputs(6), Mode::Eval)) > 0.01);
}

#[test]
fn on_average_dropout_changes_nothing() {
    for config in every_variant() {
        let (toy, _adapters) = adapted(&LoraConfig { lora_dropout: 0.5, ..config }, Kind::Float);
        let passes = 4000;
        let forward = |seed| toy.forward(0, &inputs(2), Mode::Train { seed });
        let sum: Tensor = tch::no_grad(|| (0..passes).map(forward).reduce(|a, b| a + b).unwrap());
        let mean = sum / passes as f64;
        // Each output sums a dozen features of spread up to 1: four standard errors of 4000 passes.
        let difference = max_difference(&mean, &toy.forward(0, &inputs(2), Mode::Eval));
        assert!(difference < 0.2, "{difference}");
    }
}

#[test]
fn the_base_is_not_dropped() {
    let (toy, adapters) = dropping();
    adapters.layers().iter().for_each(|layer| tch::no_grad(|| drop(layer.b().shallow_clone().zero_())));
    let base = Toy::new(Kind::Float).forward(0, &inputs(6), Mode::Eval);
    assert_eq!(toy.forward(0, &inputs(6), Mode::Train { seed: 3 }), base);
}

#[test]
fn the_generator_of_the_process_is_left_alone() {
    let draw = || Tensor::rand([40], tch::kind::FLOAT_CPU);
    tch::manual_seed(11);
    let undisturbed = draw();
    tch::manual_seed(11);
    let (toy, _adapters) = dropping();
    let _ = toy.forward(0, &inputs(6), Mode::Train { seed: 3 });
    assert_eq!(draw(), undisturbed);
}
