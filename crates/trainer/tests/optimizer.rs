//! The optimiser and the schedules are PyTorch's and transformers' (`goldens/make.py`).
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use serde::Deserialize;
use std::collections::BTreeMap;
use tch::{Tensor, no_grad};
use trainer::{LrSchedule, LrScheduler, Optimizer, TrainConfig};

type Values = BTreeMap<String, Vec<f32>>;

#[derive(Deserialize)]
struct Goldens {
    shapes: BTreeMap<String, Vec<i64>>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    beta1: f64,
    beta2: f64,
    epsilon: f64,
    weight_decay: f64,
    max_norm: f64,
    initial: Values,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    learning_rate: f64,
    gradients: Values,
    norm: f64,
    parameters: Values,
}

/// Float32 rounding over 20 steps of size 0.01: the order of operations differs, not the formula.
const TOLERANCE: f32 = 2e-6;

fn goldens() -> Goldens {
    serde_json::from_str(include_str!("goldens/optimizer.json")).unwrap()
}

fn leaves(case: &Case, shapes: &BTreeMap<String, Vec<i64>>) -> Vec<(String, Tensor)> {
    let leaf = |(name, shape): (&String, &Vec<i64>)| {
        let tensor = Tensor::from_slice(&case.initial[name]).reshape(shape.as_slice());
        (name.clone(), tensor.set_requires_grad(true))
    };
    shapes.iter().map(leaf).collect()
}

fn optimizer(case: &Case, leaves: &[(String, Tensor)]) -> Optimizer {
    let leaves = leaves.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect();
    let Case { beta1, beta2, epsilon, weight_decay, .. } = *case;
    let config = TrainConfig {
        adam_beta1: Some(beta1),
        adam_beta2: Some(beta2),
        adam_epsilon: epsilon,
        weight_decay,
        ..TrainConfig::default()
    };
    Optimizer::from_config(leaves, &config).unwrap()
}

/// Brings a step's gradients about by a backward pass, and takes the step as the trainer does. Returns the norm.
fn take(step: &Step, max_norm: f64, optimizer: &mut Optimizer, leaves: &[(String, Tensor)]) -> f64 {
    optimizer.zero_grad().unwrap();
    for (name, tensor) in leaves {
        let gradient = Tensor::from_slice(&step.gradients[name]).view_as(tensor);
        (tensor * gradient).sum(tch::Kind::Float).backward();
    }
    let mut gradients = optimizer.gradients().unwrap();
    let norm = gradients.norm().unwrap().double_value(&[0]);
    if max_norm > 0.0 && max_norm / (norm + 1e-6) < 1.0 {
        gradients.scale(max_norm / (norm + 1e-6)).unwrap();
    }
    optimizer.step(gradients, step.learning_rate).unwrap();
    norm
}

fn values(tensor: &Tensor) -> Vec<f32> {
    Vec::try_from(no_grad(|| tensor.reshape([-1]))).unwrap()
}

#[test]
fn adamw_steps_equal_torchs() {
    let goldens = goldens();
    assert_eq!(goldens.cases.len(), 3);
    for case in &goldens.cases {
        let leaves = leaves(case, &goldens.shapes);
        let mut optimizer = optimizer(case, &leaves);
        for (index, step) in case.steps.iter().enumerate() {
            let norm = take(step, case.max_norm, &mut optimizer, &leaves);
            assert!((norm / step.norm - 1.0).abs() < 1e-6, "{}: norm {norm}, torch {}", case.name, step.norm);
            for (name, tensor) in &leaves {
                for (actual, expected) in values(tensor).iter().zip(&step.parameters[name]) {
                    let place = format!("{}, step {}, {name}", case.name, index + 1);
                    assert!((actual - expected).abs() <= TOLERANCE, "{place}: {actual}, torch {expected}");
                }
            }
        }
    }
}

#[test]
fn a_restored_optimiser_continues_to_the_last_bit() {
    let goldens = goldens();
    let dir = tempfile::tempdir().unwrap();
    for (case, cut) in goldens.cases.iter().zip([1, 7, 19]) {
        let straight = leaves(case, &goldens.shapes);
        let mut one = optimizer(case, &straight);
        for step in &case.steps[..cut] {
            take(step, case.max_norm, &mut one, &straight);
        }
        let file = dir.path().join(format!("{}.safetensors", case.name));
        one.save(&file).unwrap();
        let resumed: Vec<_> = straight
            .iter()
            .map(|(name, tensor)| (name.clone(), tensor.detach().copy().set_requires_grad(true)))
            .collect();
        let mut other = optimizer(case, &resumed);
        other.load(&file).unwrap();
        for step in &case.steps[cut..] {
            take(step, case.max_norm, &mut one, &straight);
            take(step, case.max_norm, &mut other, &resumed);
        }
        for ((name, a), (_, b)) in straight.iter().zip(&resumed) {
            assert_eq!(values(a), values(b), "{}: {name}", case.name);
        }
    }
}

#[derive(Deserialize)]
struct Schedule {
    kind: String,
    warmup_steps: u64,
    total_steps: u64,
    factors: Vec<f64>,
}

const PEAK: f64 = 3e-4;

#[test]
fn schedules_equal_transformers() {
    let cases: Vec<Schedule> = serde_json::from_str(include_str!("goldens/schedule.json")).unwrap();
    assert_eq!(cases.len(), 3 * LrScheduler::ALL.len());
    for case in cases {
        let kind: LrScheduler = case.kind.parse().unwrap();
        let schedule = LrSchedule::new(kind, PEAK, case.warmup_steps, case.total_steps);
        for (step, factor) in (0..).zip(&case.factors) {
            let actual = schedule.at(step);
            assert!(
                (actual - PEAK * factor).abs() < 1e-15,
                "{kind}, step {step}: {actual}, {}",
                PEAK * factor
            );
        }
    }
}
