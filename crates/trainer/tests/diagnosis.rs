//! A step with a bad loss or gradient ends the run with a report, and changes nothing.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::*;
use nn_core::Trainable;
use tch::{Tensor, no_grad};
use trainer::{Diagnosis, LrScheduler, TrainConfig, TrainError, Trainer, find_last_checkpoint};

/// Data in which one record, and one only, holds the token that spoils a loss; and the step that reads it, from 1.
fn spoilt() -> (Sentences, usize, u64) {
    const RECORD: usize = 9;
    let mut data = Sentences::new(RECORDS, 1);
    data.0[RECORD].push(BAD_TOKEN);
    let order = nn_core::Dataset::epoch_order(&data, 0, config().seed);
    let place = order.iter().position(|&index| index == RECORD).unwrap();
    (data, RECORD, place as u64 / 6 + 1)
}

/// Trains `model` on spoilt data, without validation, and returns what ended the run.
fn diagnosis(model: &Bigram, config: &TrainConfig, dir: &std::path::Path) -> Diagnosis {
    let (data, _, _) = spoilt();
    match Trainer::new(model, &data, config.clone()).run(dir) {
        Err(TrainError::BadStep(diagnosis)) => *diagnosis,
        other => panic!("expected a bad step, got {other:?}"),
    }
}

#[test]
fn a_nan_or_infinite_loss_names_its_step_and_records() {
    let (data, record, step) = spoilt();
    assert!(step > 1, "the spoilt record has to come after a checkpoint");
    for (factor, shown) in
        [(f64::NAN, "loss NaN"), (f64::INFINITY, "loss inf"), (f64::NEG_INFINITY, "loss -inf")]
    {
        let dir = tempfile::tempdir().unwrap();
        let model = Bigram { broken: Broken::Factor(factor), ..Bigram::new() };
        let config = TrainConfig { save_steps: 1, ..config() };
        let found = diagnosis(&model, &config, dir.path());
        assert_eq!(found.step, step);
        assert!(found.records.contains(&record) && found.records.len() <= 3, "{:?}", found.records);
        let text = found.to_string();
        for part in [&format!("before step {step}"), shown, &record.to_string(), "float16"] {
            assert!(text.contains(part), "`{part}` is not in: {text}");
        }
        assert_eq!(text.lines().count(), 1);

        let last = find_last_checkpoint(dir.path()).unwrap().unwrap();
        assert!(last.ends_with(format!("checkpoint-{}", step - 1)), "{last:?}");
        let trained = model.values();
        let restored = Bigram::new();
        restored.restore(&last).unwrap();
        assert_eq!(trained, restored.values(), "the bad step was taken");
        assert!(trained.iter().all(|value| value.is_finite()));

        // Without the fault, the run continues from there.
        let repaired = Bigram::new();
        let trainer = Trainer::new(&repaired, &data, config.clone()).resume_from(&last);
        assert!(matches!(trainer.run(dir.path()).unwrap(), trainer::Outcome::Finished(_)));
    }
}

#[test]
fn a_gradient_overflow_under_a_finite_loss_is_reported_as_such() {
    /// A [`Bigram`] whose head has a gradient that is not finite.
    struct Overflowing(Bigram);
    impl Trainable for Overflowing {
        fn parameters(&self) -> Vec<(String, Tensor)> {
            self.0.parameters()
        }
        fn loss_sum(
            &self,
            batch: &nn_core::TokenBatch,
            mode: nn_core::Mode,
        ) -> Result<Tensor, nn_core::BoxError> {
            let head = &self.0.parameters()[1].1;
            // The root of |x - x| is 0, its slope is not.
            let zero = (head - head.detach()).abs().sqrt().sum(tch::Kind::Float);
            Ok(self.0.loss_sum(batch, mode)? + zero)
        }
        fn save(&self, dir: &std::path::Path) -> Result<(), nn_core::BoxError> {
            self.0.save(dir)
        }
        fn restore(&self, dir: &std::path::Path) -> Result<(), nn_core::BoxError> {
            self.0.restore(dir)
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let (data, model) = (Sentences::new(RECORDS, 1), Overflowing(Bigram::new()));
    let before = model.0.values();
    let error = Trainer::new(&model, &data, config()).run(dir.path()).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("all parameters are finite, but not the gradient of head;"), "{text}");
    assert!(text.contains("the backward pass overflowed"), "{text}");
    assert_eq!(model.0.values(), before);
}

#[test]
fn a_loss_of_zero_without_a_gradient_stops_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let model = Bigram { broken: Broken::Factor(0.0), ..Bigram::new() };
    let (mut data, _, _) = spoilt();
    data.0.iter_mut().for_each(|sentence| sentence.push(BAD_TOKEN));
    let error = Trainer::new(&model, &data, config()).run(dir.path()).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("before step 1: loss 0, gradient norm 0"), "{text}");
    assert!(text.contains("carry no information"), "{text}");
}

#[test]
fn broken_weights_are_reported_and_not_the_records() {
    let dir = tempfile::tempdir().unwrap();
    let model = Bigram::new();
    let _ = no_grad(|| model.parameters()[2].1.get(3).fill_(f64::NAN));
    let text = diagnosis(&model, &config(), dir.path()).to_string();
    assert!(
        text.contains("not all values are finite in bias; the weights are broken as they were loaded"),
        "{text}"
    );
}

/// A [`Bigram`] over weights that do not train and are no numbers.
struct OverBrokenBase(Bigram);

impl Trainable for OverBrokenBase {
    fn parameters(&self) -> Vec<(String, Tensor)> {
        self.0.parameters()
    }

    fn loss_sum(
        &self,
        batch: &nn_core::TokenBatch,
        mode: nn_core::Mode,
    ) -> Result<Tensor, nn_core::BoxError> {
        Ok(self.0.loss_sum(batch, mode)? * f64::NAN)
    }

    fn frozen_not_finite(&self) -> Result<Vec<String>, nn_core::BoxError> {
        Ok(vec!["model.layers.2.mlp.up_proj.weight".to_owned()])
    }

    fn save(&self, dir: &std::path::Path) -> Result<(), nn_core::BoxError> {
        self.0.save(dir)
    }

    fn restore(&self, dir: &std::path::Path) -> Result<(), nn_core::BoxError> {
        self.0.restore(dir)
    }
}

#[test]
fn a_frozen_weight_that_is_no_number_is_named_and_not_the_parameters() {
    let dir = tempfile::tempdir().unwrap();
    let (data, model) = (Sentences::new(RECORDS, 1), OverBrokenBase(Bigram::new()));
    let text = Trainer::new(&model, &data, config()).run(dir.path()).unwrap_err().to_string();
    assert!(
        text.contains("not all values of the base are finite in model.layers.2.mlp.up_proj.weight"),
        "{text}"
    );
    assert!(text.contains("as they were loaded") && !text.contains("all parameters are finite"), "{text}");
}

#[test]
fn a_validation_loss_that_is_no_number_ends_the_run() {
    let (spoilt, ..) = spoilt();
    let dir = tempfile::tempdir().unwrap();
    let model = Bigram { broken: Broken::Factor(f64::NAN), ..Bigram::new() };
    let data = Sentences::new(RECORDS, 1);
    let run = Trainer::new(&model, &data, config()).validation(&spoilt).run(dir.path());
    let text = run.unwrap_err().to_string();
    assert!(text.starts_with("the validation loss after step 4 is NaN; all weights are finite"), "{text}");
}

#[test]
fn a_parameter_that_an_update_made_infinite_is_never_saved() {
    /// A [`Bigram`] whose bias is spoilt by the last update.
    struct Spoilt(Bigram, std::cell::Cell<usize>);
    impl Trainable for Spoilt {
        fn parameters(&self) -> Vec<(String, Tensor)> {
            self.0.parameters()
        }
        fn loss_sum(
            &self,
            batch: &nn_core::TokenBatch,
            mode: nn_core::Mode,
        ) -> Result<Tensor, nn_core::BoxError> {
            let loss = self.0.loss_sum(batch, mode)?;
            self.1.set(self.1.get() + 1);
            if self.1.get() == 1 {
                let _ = no_grad(|| self.0.parameters()[2].1.get(3).fill_(f64::INFINITY));
            }
            Ok(loss)
        }
        fn save(&self, _: &std::path::Path) -> Result<(), nn_core::BoxError> {
            panic!("saved")
        }
        fn restore(&self, dir: &std::path::Path) -> Result<(), nn_core::BoxError> {
            self.0.restore(dir)
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let (data, model) = (Sentences::new(6, 1), Spoilt(Bigram::new(), std::cell::Cell::new(0)));
    let config = TrainConfig {
        max_steps: Some(1),
        warmup_steps: 0,
        micro_batch_size: 6,
        gradient_accumulation_steps: 1,
        ..config()
    };
    let text = Trainer::new(&model, &data, config).run(dir.path()).unwrap_err().to_string();
    assert!(text.starts_with("step 1 made values NaN or infinite in bias"), "{text}");
}

#[test]
fn a_run_whose_learning_rate_is_0_throughout_is_refused_before_it_starts() {
    let warm = TrainConfig { warmup_steps: 100, ..config() };
    let constant = TrainConfig { lr_scheduler: LrScheduler::Constant, ..warm.clone() };
    for (config, learns) in [
        (TrainConfig { max_steps: Some(1), ..warm.clone() }, false),
        (TrainConfig { max_steps: Some(2), ..warm.clone() }, true),
        (TrainConfig { max_steps: Some(1), ..constant }, true),
        (TrainConfig { learning_rate: 0.0, ..config() }, false),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let outcome = train(&config, &Bigram::new(), dir.path(), None);
        assert_eq!(outcome.is_ok(), learns, "{config:?}");
        if let Err(error) = outcome {
            assert!(error.is_usage() && error.to_string().contains("warmup_steps"), "{error}");
            assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none());
        }
    }
}
