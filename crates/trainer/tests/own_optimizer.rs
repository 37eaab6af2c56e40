//! An optimiser that is defined outside the crate trains and resumes like those in the list.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::*;
use nn_core::{Dataset, TorchContext};
use tch::Tensor;
use trainer::{
    Optimizer, OptimizerKind, StateTensor, StepSettings, StopFlag, TrainConfig, TrainError, UpdateRule,
    UpdateStep, optimizer_step,
};

/// Gradient descent without a state.
#[derive(Debug)]
struct Sgd;

impl UpdateRule for Sgd {
    fn title(&self) -> &'static str {
        "SGD"
    }

    fn state(&self) -> &'static [StateTensor] {
        &[]
    }

    fn default_betas(&self) -> (f64, f64) {
        (0.0, 0.0)
    }

    fn update(
        &self,
        mut gradient: Tensor,
        _state: &mut [Tensor],
        step: &UpdateStep,
    ) -> Result<Tensor, TrainError> {
        Ok(gradient.f_mul_scalar_(-step.learning_rate).op("mul_")?)
    }
}

fn sgd() -> TrainConfig {
    TrainConfig { optimizer: OptimizerKind::new("sgd", &Sgd), weight_decay: 0.0, ..config() }
}

#[test]
fn a_step_is_the_learning_rate_times_the_gradient() {
    let model = Bigram { dropout: 0.0, ..Bigram::new() };
    let before = model.values();
    let mut optimizer = Optimizer::from_config(nn_core::Trainable::parameters(&model), &sgd()).unwrap();
    let settings =
        StepSettings { seed: 0, learning_rate: 0.5, max_grad_norm: 0.0, time_phases: false, loss_scale: 1.0 };
    let batch = Sentences::new(4, 4).batch(&[0, 1, 2, 3]);
    optimizer_step(&model, &mut optimizer, &[batch], &settings, &StopFlag::new()).unwrap();
    for ((after, before), gradient) in model.values().iter().zip(before).zip(model.gradients()) {
        assert!((after - (before - 0.5 * gradient)).abs() < 1e-6, "{after} {before} {gradient}");
    }
}

#[test]
fn a_resumed_run_ends_in_the_same_bytes() {
    let (whole, resumed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    train(&sgd(), &Bigram::new(), whole.path(), None).unwrap();
    copy_dir(whole.path(), resumed.path());
    let checkpoint = resumed.path().join("checkpoint-6");
    train(&sgd(), &Bigram::new(), resumed.path(), Some(&checkpoint)).unwrap();
    assert_eq!(result(whole.path()), result(resumed.path()));

    let error = train(&config(), &Bigram::new(), resumed.path(), Some(&checkpoint)).unwrap_err().to_string();
    assert!(error.contains("`optimizer` is \"AdamW\" in this run, but \"SGD\" in the checkpoint"), "{error}");
}
