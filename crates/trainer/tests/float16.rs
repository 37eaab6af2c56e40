//! With float16 activations, gradients neither vanish nor overflow: the loss is scaled.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs;
use std::path::Path;

use common::*;
use nn_core::{BoxError, Dataset, Mode, TokenBatch, Trainable};
use serde_json::Value;
use tch::{Kind, Reduction, Tensor};
use trainer::{Optimizer, StepOutcome, StepSettings, StopFlag, TrainConfig, Trainer, optimizer_step};

/// A [`Bigram`] without dropout whose activations are of one precision, and whose loss is multiplied with a factor.
struct Scaled {
    model: Bigram,
    kind: Kind,
    factor: f64,
}

impl Scaled {
    fn new(kind: Kind, factor: f64) -> Self {
        Self { model: Bigram::new(), kind, factor }
    }
}

impl Trainable for Scaled {
    fn parameters(&self) -> Vec<(String, Tensor)> {
        self.model.parameters()
    }

    fn loss_sum(&self, batch: &TokenBatch, _: Mode) -> Result<Tensor, BoxError> {
        let (positions, labels) = batch.targets();
        let ids: Vec<i64> = positions.iter().map(|&at| batch.input_ids[at as usize]).collect();
        let hidden = self.model.table.index_select(0, &Tensor::from_slice(&ids)).to_kind(self.kind);
        let logits = hidden.matmul(&self.model.head.to_kind(self.kind)) + self.model.bias.to_kind(self.kind);
        let labels = Tensor::from_slice(&labels);
        let loss = logits.to_kind(Kind::Float).cross_entropy_loss(
            &labels,
            None::<Tensor>,
            Reduction::Sum,
            -100,
            0.0,
        );
        Ok(loss * self.factor)
    }

    fn activations(&self) -> Kind {
        self.kind
    }

    fn save(&self, dir: &Path) -> Result<(), BoxError> {
        self.model.save(dir)
    }

    fn restore(&self, dir: &Path) -> Result<(), BoxError> {
        self.model.restore(dir)
    }
}

fn step(trainable: &Scaled, loss_scale: f64) -> StepOutcome {
    let batch = Sentences::new(8, 4).batch(&(0..8).collect::<Vec<_>>());
    let mut optimizer = Optimizer::from_config(trainable.parameters(), &config()).unwrap();
    let settings =
        StepSettings { seed: 3, learning_rate: 0.1, max_grad_norm: 0.0, time_phases: false, loss_scale };
    optimizer_step(trainable, &mut optimizer, &[batch], &settings, &StopFlag::new()).unwrap()
}

fn norm(outcome: &StepOutcome) -> f64 {
    let StepOutcome::Updated(stats) = outcome else { panic!("no update: {outcome:?}") };
    stats.grad_norm
}

#[test]
fn small_gradients_survive_float16_under_a_loss_scale() {
    // Gradients of the logits, divided by 30 targets, are around 1e-9; the smallest number of float16 is 6e-8.
    let expected = norm(&step(&Scaled::new(Kind::Float, 1e-7), 1.0));
    let scaled = norm(&step(&Scaled::new(Kind::Half, 1e-7), 65536.0));
    let plain = norm(&step(&Scaled::new(Kind::Half, 1e-7), 1.0));
    assert!((scaled / expected - 1.0).abs() < 0.01, "{scaled} {expected}");
    assert!((plain / expected - 1.0).abs() > 0.5, "without a scale most of it is gone: {plain} {expected}");
}

#[test]
fn a_scale_does_not_change_the_gradients_of_other_precisions() {
    let (one, two) = (Scaled::new(Kind::Float, 1.0), Scaled::new(Kind::Float, 1.0));
    let (one, two) = (norm(&step(&one, 1.0)), norm(&step(&two, 1024.0)));
    assert!((one / two - 1.0).abs() < 1e-6, "{one} {two}");
}

#[test]
fn gradients_that_overflow_change_nothing() {
    let trainable = Scaled::new(Kind::Half, 100.0);
    let before = trainable.model.values();
    assert!(matches!(step(&trainable, 65536.0), StepOutcome::Overflowed));
    assert_eq!(trainable.model.values(), before);
}

/// Trains with float16 activations; the scale that the last checkpoint has.
fn train_half(config: &TrainConfig, dir: &Path, resume: Option<&Path>) -> f64 {
    let (data, trainable) = (Sentences::new(RECORDS, 1), Scaled::new(Kind::Half, 100.0));
    let mut trainer = Trainer::new(&trainable, &data, config.clone());
    if let Some(checkpoint) = resume {
        trainer = trainer.resume_from(checkpoint);
    }
    trainer.run(dir).unwrap();
    let last = dir.join(format!("checkpoint-{}/trainer_state.json", checkpoints(dir).last().unwrap()));
    let state: Value = serde_json::from_str(&fs::read_to_string(last).unwrap()).unwrap();
    state["loss_scale"]["factor"].as_f64().unwrap()
}

#[test]
fn a_run_finds_its_scale_loses_no_step_and_resumes_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, cut) = (dir.path().join("whole"), dir.path().join("cut"));
    let scale = train_half(&config(), &whole, None);
    assert!((2.0..65536.0).contains(&scale), "{scale}");
    // Every step was taken: those of a run in float32 but for rounding.
    let single = Scaled::new(Kind::Float, 100.0);
    Trainer::new(&single, &Sentences::new(RECORDS, 1), config()).run(dir.path().join("single")).unwrap();
    let losses =
        |dir: &Path| -> Vec<f64> { metrics(dir).iter().filter_map(|line| line["loss"].as_f64()).collect() };
    for (half, single) in losses(&whole).iter().zip(losses(&dir.path().join("single"))) {
        assert!((half / single - 1.0).abs() < 0.02, "{half} {single}");
    }
    fs::create_dir_all(&cut).unwrap();
    let middle = copy_dir(&whole.join("checkpoint-4"), &cut.join("checkpoint-4"));
    assert!((train_half(&config(), &cut, Some(&middle)) - scale).abs() < f64::EPSILON);
    assert_eq!(result(&cut), result(&whole));
}
