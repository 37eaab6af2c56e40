//! Outputs, weights and gradients of adapted layers.

use lora::{LoraAdapters, LoraConfig, TargetModules};
use nn_core::Mode;
use tch::{Kind, Tensor};

use crate::common::{OUT, Toy, WIDTH, adapted, config, every_variant, fill, inputs, max_difference};

/// Sums of a dozen products in float32.
const SAME: f64 = 1e-5;

#[test]
fn the_adapted_layer_is_the_layer_of_its_dense_weight() {
    let rank_stabilised = LoraConfig { use_rslora: true, ..config() };
    for config in every_variant().chain([rank_stabilised]) {
        let (toy, _adapters) = adapted(&config, Kind::Float);
        let base = Toy::new(Kind::Float);
        for slot in 0..4 {
            let xs = inputs(5);
            let through_factors = toy.forward(slot, &xs, Mode::Eval);
            let through_weight = xs.linear(&toy.dense_weight(slot, Kind::Float), None::<&Tensor>);
            assert!(max_difference(&through_factors, &through_weight) < SAME);
            assert!(max_difference(&through_factors, &base.forward(slot, &xs, Mode::Eval)) > 0.1);
        }
    }
}

#[test]
fn the_delta_is_b_times_a_times_alpha_over_r() {
    let (toy, adapters) = adapted(&config(), Kind::Float);
    let base = Toy::new(Kind::Float);
    for (slot, layer) in adapters.layers().iter().enumerate() {
        let delta = toy.dense_weight(slot, Kind::Float) - base.dense_weight(slot, Kind::Float);
        let expected = layer.b().matmul(layer.a()) * (7.0 / 3.0);
        assert!(max_difference(&delta, &expected) < SAME);
    }
}

#[test]
fn leading_dimensions_change_nothing() {
    for config in every_variant() {
        let (toy, _adapters) = adapted(&config, Kind::Float);
        let xs = inputs(6);
        let flat = toy.forward(1, &xs, Mode::Eval);
        let nested = toy.forward(1, &xs.view([2, 3, WIDTH]), Mode::Eval);
        assert_eq!(nested.size(), [2, 3, OUT]);
        assert!(max_difference(&flat, &nested.view([6, OUT])) < SAME);
    }
}

/// bfloat16 has 8 significant bits, and the outputs are up to about 8.
#[test]
fn a_base_in_half_precision_keeps_its_kind_and_its_factors_theirs() {
    for config in every_variant() {
        let (toy, adapters) = adapted(&config, Kind::BFloat16);
        let (exact, _) = adapted(&config, Kind::Float);
        assert!(adapters.parameters().iter().all(|(_, factor)| factor.kind() == Kind::Float));
        let ys = toy.forward(0, &inputs(5).to_kind(Kind::BFloat16), Mode::Eval);
        assert_eq!(ys.kind(), Kind::BFloat16);
        assert!(max_difference(&ys.to_kind(Kind::Float), &exact.forward(0, &inputs(5), Mode::Eval)) < 0.1);
    }
}

#[test]
fn a_fresh_adapter_changes_nothing() {
    for config in every_variant() {
        let mut toy = Toy::new(Kind::Float);
        let dropping = LoraConfig { lora_dropout: 0.5, ..config };
        let adapters = LoraAdapters::attach(&mut toy, &dropping, 1).unwrap();
        let base = Toy::new(Kind::Float);
        for (slot, mode) in (0..4).flat_map(|slot| [(slot, Mode::Eval), (slot, Mode::Train { seed: 3 })]) {
            assert_eq!(toy.forward(slot, &inputs(5), mode), base.forward(slot, &inputs(5), mode));
        }
        let bound = 1.0 / (WIDTH as f64).sqrt();
        for layer in adapters.layers() {
            let largest = layer.a().abs().max().double_value(&[]);
            assert!(largest <= bound && largest > 0.8 * bound, "{largest} of {bound}");
            assert_eq!(layer.b().count_nonzero(None).int64_value(&[]), 0);
        }
    }
}

#[test]
fn a_fresh_factor_depends_on_the_seed_and_its_own_layer_only() {
    let attach = |names: &[&str], seed| {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        let config = LoraConfig { target_modules: Some(TargetModules::Names(names)), ..config() };
        let adapters = LoraAdapters::attach(&mut Toy::new(Kind::Float), &config, seed).unwrap();
        adapters.layers().iter().map(|layer| (layer.path.clone(), layer.a().copy())).collect::<Vec<_>>()
    };
    let (both, only_v, other) =
        (attach(&["q_proj", "v_proj"], 1), attach(&["v_proj"], 1), attach(&["v_proj"], 2));
    for ((path, a), (_, other)) in only_v.iter().zip(&other) {
        let (_, same) = both.iter().find(|(known, _)| known == path).unwrap();
        assert_eq!(a, same);
        assert!(max_difference(a, other) > 0.01);
    }
    assert!(max_difference(&both[0].1, &both[2].1) > 0.01);
}

#[test]
fn disabled_adapters_leave_the_base() {
    for config in every_variant() {
        let (toy, adapters) = adapted(&config, Kind::Float);
        let base = Toy::new(Kind::Float);
        let forward = |toy: &Toy, slot| toy.forward(slot, &inputs(5), Mode::Eval);
        adapters.set_enabled(false);
        for slot in 0..4 {
            assert_eq!(forward(&toy, slot), forward(&base, slot));
            assert_eq!(toy.dense_weight(slot, Kind::Float), base.dense_weight(slot, Kind::Float));
        }
        adapters.set_enabled(true);
        assert!(max_difference(&forward(&toy, 0), &forward(&base, 0)) > 0.1);
    }
}

#[test]
fn gradients_are_those_of_the_dense_form() {
    for config in every_variant() {
        let (toy, adapters) = adapted(&config, Kind::Float);
        let gradients = |loss: Tensor| -> Vec<Tensor> {
            loss.backward();
            let gradient_of = |(_, tensor): (String, &Tensor)| {
                let gradient = tensor.grad().copy();
                let _ = tensor.grad().zero_();
                gradient
            };
            adapters.layers()[2].named_tensors().map(gradient_of).collect()
        };
        let xs = inputs(5);
        let through_factors = gradients(toy.forward(2, &xs, Mode::Eval).square().sum(Kind::Float));
        let weight = toy.dense_weight(2, Kind::Float);
        let through_weight = gradients(xs.linear(&weight, None::<&Tensor>).square().sum(Kind::Float));
        for (of_factors, of_weight) in through_factors.iter().zip(&through_weight) {
            let largest = of_weight.abs().max().double_value(&[]);
            assert!(largest > 1.0 && max_difference(of_factors, of_weight) < largest * SAME, "{config:?}");
        }
    }
}

#[test]
fn a_target_that_matches_nothing_is_named_and_the_model_is_left_alone() {
    let mut toy = Toy::new(Kind::Float);
    let names = vec!["q_proj".to_owned(), "k_proj".to_owned()];
    let config = LoraConfig { target_modules: Some(TargetModules::Names(names)), ..config() };
    let error = LoraAdapters::attach(&mut toy, &config, 1).unwrap_err().to_string();
    assert_eq!(
        error,
        "target module `k_proj` matches no linear layer of the model, which has q_proj, v_proj"
    );
    let adapters = LoraAdapters::attach(&mut toy, &self::config(), 1).unwrap();
    fill(&adapters);
    adapters.set_enabled(false);
    assert_eq!(toy.dense_weight(0, Kind::Float), Toy::new(Kind::Float).dense_weight(0, Kind::Float));
}
