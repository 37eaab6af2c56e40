//! Lion takes the steps of its paper's algorithm, and of bitsandbytes' `Lion` (`goldens/make_lion.py`).
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;

use serde::Deserialize;
use tch::{Kind, Tensor};
use trainer::{Optimizer, TrainConfig};
use weights::TensorStore;

#[derive(Deserialize)]
struct Golden {
    steps: u32,
    learning_rate: f64,
    weight_decay: f64,
    parameters: BTreeMap<String, Vec<f32>>,
    momentum: BTreeMap<String, Vec<f32>>,
}

/// Float32 rounding over 15 steps; an element that moved the other way once would be off by two learning rates.
const TOLERANCE: f64 = 1e-6;

const SHAPES: [(&str, &[i64]); 2] = [("matrix", &[9, 14]), ("vector", &[13])];

fn golden() -> Golden {
    serde_json::from_str(include_str!("goldens/lion.json")).unwrap()
}

fn wave(shape: &[i64], phase: f64, scale: f64) -> Vec<f32> {
    (0..shape.iter().product()).map(|i: i64| (scale * (i as f64 * 0.37 + phase).sin()) as f32).collect()
}

fn gradient(shape: &[i64], step: u32) -> Vec<f32> {
    wave(shape, 0.9 * f64::from(step), 10f64.powi(step as i32 % 3 - 3))
}

fn learning_rate(golden: &Golden, step: u32) -> f64 {
    golden.learning_rate * (1.0 - f64::from(step) / f64::from(golden.steps))
}

/// Trains with the optimiser of the registry: parameters and momentum after the last step.
fn ours(golden: &Golden) -> BTreeMap<String, [Vec<f32>; 2]> {
    let leaf = |(name, shape): (&str, &[i64])| {
        let tensor = Tensor::from_slice(&wave(shape, 0.5, 0.1)).reshape(shape);
        (name.to_owned(), tensor.set_requires_grad(true))
    };
    let leaves = SHAPES.map(leaf);
    let config = TrainConfig {
        optimizer: "lion".parse().unwrap(),
        weight_decay: golden.weight_decay,
        ..TrainConfig::default()
    };
    let parameters = leaves.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect();
    let mut optimizer = Optimizer::from_config(parameters, &config).unwrap();
    for step in 0..golden.steps {
        optimizer.zero_grad().unwrap();
        for ((_, tensor), (_, shape)) in leaves.iter().zip(SHAPES) {
            let gradient = Tensor::from_slice(&gradient(shape, step)).reshape(shape);
            (tensor * gradient).sum(Kind::Float).backward();
        }
        optimizer.step(optimizer.gradients().unwrap(), learning_rate(golden, step)).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("optimizer.safetensors");
    optimizer.save(&path).unwrap();
    let state = TensorStore::open_file(&path).unwrap();
    let values = |tensor: Tensor| Vec::try_from(tensor.detach().flatten(0, -1)).unwrap();
    let result = |(name, tensor): (String, Tensor)| {
        let momentum = values(state.tensor(&format!("exp_avg.{name}")).unwrap());
        (name, [values(tensor), momentum])
    };
    leaves.into_iter().map(result).collect()
}

fn assert_close(ours: &[f32], theirs: impl Iterator<Item = f64>, name: &str) {
    for (index, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        assert!((f64::from(*ours) - theirs).abs() < TOLERANCE, "{name}[{index}]: {ours}, expected {theirs}");
    }
}

#[test]
fn steps_are_those_of_the_papers_algorithm() {
    const BETAS: (f64, f64) = (0.9, 0.99);
    let golden = golden();
    let ours = ours(&golden);
    for (name, shape) in SHAPES {
        let mut theta: Vec<f64> = wave(shape, 0.5, 0.1).into_iter().map(f64::from).collect();
        let mut momentum = vec![0.0; theta.len()];
        let decay = if shape.len() > 1 { golden.weight_decay } else { 0.0 };
        for step in 0..golden.steps {
            let eta = learning_rate(&golden, step);
            for ((theta, m), g) in theta.iter_mut().zip(&mut momentum).zip(gradient(shape, step)) {
                let g = f64::from(g);
                let c = BETAS.0 * *m + (1.0 - BETAS.0) * g;
                let sign = if c == 0.0 { 0.0 } else { c.signum() };
                *theta -= eta * (sign + decay * *theta);
                *m = BETAS.1 * *m + (1.0 - BETAS.1) * g;
            }
        }
        assert_close(&ours[name][0], theta.into_iter(), name);
        assert_close(&ours[name][1], momentum.into_iter(), name);
    }
}

#[test]
fn steps_and_state_are_those_of_bitsandbytes() {
    let golden = golden();
    for (name, [parameter, momentum]) in ours(&golden) {
        assert_eq!(parameter.len(), golden.parameters[&name].len());
        assert_close(&parameter, golden.parameters[&name].iter().map(|&x| f64::from(x)), &name);
        assert_close(&momentum, golden.momentum[&name].iter().map(|&x| f64::from(x)), &name);
    }
}
