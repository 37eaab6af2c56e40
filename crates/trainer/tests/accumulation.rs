//! Splitting a batch into micro-batches changes neither its loss nor its gradient.
#![allow(clippy::float_cmp, reason = "where equality is the law, it is of every bit")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::*;
use nn_core::{Dataset, IGNORE_INDEX, TokenBatch, Trainable};
use trainer::{Optimizer, StepOutcome, StepSettings, StepStats, StopFlag, TrainConfig, optimizer_step};

/// Sums in another order differ by float32 rounding.
const TOLERANCE: f64 = 1e-6;

fn settings() -> StepSettings {
    StepSettings { seed: 3, learning_rate: 0.1, max_grad_norm: 0.0, time_phases: false, loss_scale: 1.0 }
}

/// One step of a fresh model without dropout: its numbers, the gradients, the parameters after it.
fn step(micro_batches: &[TokenBatch]) -> (StepStats, Vec<f32>, Vec<f32>) {
    let model = Bigram { dropout: 0.0, ..Bigram::new() };
    let mut optimizer = Optimizer::from_config(model.parameters(), &config()).unwrap();
    let outcome =
        optimizer_step(&model, &mut optimizer, micro_batches, &settings(), &StopFlag::new()).unwrap();
    let StepOutcome::Updated(stats) = outcome else { panic!("no update: {outcome:?}") };
    // The update works on copies of these small gradients, so they are still what backward left.
    (stats, model.gradients(), model.values())
}

fn largest_difference(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max)
}

#[test]
fn splitting_a_batch_changes_neither_loss_nor_gradient() {
    let data = Sentences::new(12, 4);
    let whole = step(&[data.batch(&(0..12).collect::<Vec<_>>())]);
    assert!(whole.1.iter().any(|&gradient| gradient.abs() > 1e-3), "gradients are there to be compared");
    // Equal parts, single records, and parts as unequal as they come.
    for cuts in [vec![4, 8], (1..12).collect(), vec![1], vec![11], vec![1, 3, 10]] {
        let mut start = 0;
        let parts: Vec<TokenBatch> = cuts
            .iter()
            .chain(&[12])
            .map(|&end| data.batch(&(std::mem::replace(&mut start, end)..end).collect::<Vec<_>>()))
            .collect();
        let (stats, gradients, _) = step(&parts);
        assert_eq!((stats.tokens, stats.targets), (whole.0.tokens, whole.0.targets));
        assert!((stats.loss - whole.0.loss).abs() < TOLERANCE, "{cuts:?}: {} {}", stats.loss, whole.0.loss);
        assert!((stats.grad_norm - whole.0.grad_norm).abs() < TOLERANCE, "{cuts:?}");
        assert!(largest_difference(&gradients, &whole.1) < TOLERANCE, "{cuts:?}");
    }
}

#[test]
fn micro_batches_without_targets_change_nothing() {
    let data = Sentences::new(4, 4);
    let mut silent = data.batch(&[2, 3]);
    silent.labels.fill(IGNORE_INDEX);
    let with = step(&[data.batch(&[0]), silent.clone(), data.batch(&[1])]);
    let without = step(&[data.batch(&[0]), data.batch(&[1])]);
    assert_eq!((with.0.loss, with.0.targets), (without.0.loss, without.0.targets));
    assert_eq!(with.2, without.2);

    let model = Bigram::new();
    let before = model.values();
    let mut optimizer = Optimizer::from_config(model.parameters(), &config()).unwrap();
    let outcome = optimizer_step(&model, &mut optimizer, &[silent], &settings(), &StopFlag::new()).unwrap();
    assert!(matches!(outcome, StepOutcome::NoTargets));
    assert_eq!(model.values(), before);
}

#[test]
fn clipping_scales_the_whole_gradient_to_the_norm() {
    let data = Sentences::new(4, 4);
    let batch = [data.batch(&[0, 1, 2, 3])];
    // Without momentum and with an epsilon far above the gradients, AdamW's step is proportional to the gradient.
    let adamw = TrainConfig {
        adam_beta1: Some(0.0),
        adam_beta2: Some(0.0),
        adam_epsilon: 1e6,
        weight_decay: 0.0,
        ..TrainConfig::default()
    };
    let change = |max_grad_norm: f64| {
        let model = Bigram { dropout: 0.0, ..Bigram::new() };
        let before = model.values();
        let mut optimizer = Optimizer::from_config(model.parameters(), &adamw).unwrap();
        let settings = StepSettings { max_grad_norm, learning_rate: 1e6, ..settings() };
        let outcome = optimizer_step(&model, &mut optimizer, &batch, &settings, &StopFlag::new()).unwrap();
        let StepOutcome::Updated(stats) = outcome else { panic!("no update") };
        let squares = model.values().iter().zip(&before).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
        (stats.grad_norm, squares.sqrt())
    };
    let (norm, free) = change(0.0);
    assert!((free / norm - 1.0).abs() < 1e-4, "{free} {norm}");
    let (still, clipped) = change(norm / 4.0);
    assert_eq!(norm, still, "the norm is told as it was before clipping");
    assert!((clipped / norm - 0.25).abs() < 1e-4, "{clipped} {norm}");
    assert_eq!(change(norm * 2.0).1, free, "a gradient below the norm is left alone");
}
