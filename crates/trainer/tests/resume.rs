//! An interrupted and resumed run equals an uninterrupted one.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs;

use common::*;
use trainer::{
    OPTIMIZERS, Outcome, Reporter, StopFlag, TrainConfig, TrainError, Trainer, find_last_checkpoint,
};

/// The uninterrupted run: its bytes and its metrics.
fn uninterrupted(config: &TrainConfig) -> (Vec<u8>, Vec<serde_json::Value>) {
    let dir = tempfile::tempdir().unwrap();
    let outcome = train(config, &Bigram::new(), dir.path(), None).unwrap();
    assert!(matches!(outcome, Outcome::Finished(_)));
    (result(dir.path()), metrics(dir.path()))
}

#[test]
fn resuming_any_checkpoint_gives_the_same_losses_and_the_same_bytes() {
    let optimizers = OPTIMIZERS.iter().map(|&optimizer| (optimizer, true));
    for (optimizer, best) in optimizers.chain([(OPTIMIZERS[0], false)]) {
        let config = TrainConfig { optimizer, load_best_model_at_end: best, ..config() };
        let expected = uninterrupted(&config);
        assert_eq!(expected.1.iter().filter(|line| line.get("eval_loss").is_some()).count(), 3);
        let whole = tempfile::tempdir().unwrap();
        train(&config, &Bigram::new(), whole.path(), None).unwrap();
        for step in [2, 4, 6, 8, 10, 12] {
            let dir = tempfile::tempdir().unwrap();
            copy_dir(whole.path(), dir.path());
            fs::remove_file(dir.path().join("bigram.safetensors")).unwrap();
            let checkpoint = dir.path().join(format!("checkpoint-{step}"));
            let outcome = train(&config, &Bigram::new(), dir.path(), Some(&checkpoint)).unwrap();
            let Outcome::Finished(summary) = outcome else { panic!("not finished") };
            assert_eq!(summary.steps, 12);
            assert_eq!(
                (result(dir.path()), metrics(dir.path())),
                expected,
                "from step {step}, {optimizer}, best: {best}"
            );
        }
    }
}

#[test]
fn a_run_stopped_in_every_forward_pass_ends_as_if_uninterrupted() {
    // Forward passes of an uninterrupted run: 3 epochs of 8 micro-batches, 3 evaluations of 2.
    let expected = uninterrupted(&config());
    let dir = tempfile::tempdir().unwrap();
    let (mut stops, mut at) = (0, 0);
    loop {
        let mut model = Bigram::new();
        // A step of two micro-batches has to fit between two stops, or nothing would ever be done.
        model.stop_in = Some((2 + at % 3, StopFlag::new()));
        at += 1;
        let resume = find_last_checkpoint(dir.path()).unwrap();
        match train(&config(), &model, dir.path(), resume.as_deref()).unwrap() {
            Outcome::Finished(_) => break,
            Outcome::Stopped { step, checkpoint, .. } => {
                assert_eq!(checkpoint, Some(dir.path().join(format!("checkpoint-{step}"))));
                stops += 1;
            }
        }
        assert!(stops < 40, "no progress");
    }
    assert!(stops >= 8, "{stops} stops");
    assert_eq!((result(dir.path()), metrics(dir.path())), expected);
}

#[test]
fn a_stop_before_the_first_step_saves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut model = Bigram::new();
    model.stop_in = Some((0, StopFlag::new()));
    let outcome = train(&config(), &model, dir.path(), None).unwrap();
    assert!(matches!(outcome, Outcome::Stopped { step: 0, checkpoint: None, .. }), "{outcome:?}");
    assert!(checkpoints(dir.path()).is_empty());
}

#[test]
fn the_newest_and_the_best_checkpoint_outlive_the_limit() {
    for (limit, learning_rate) in [(1, 0.05), (2, 0.05), (1, 3.0)] {
        let config = TrainConfig { save_total_limit: Some(limit), eval_steps: 1, learning_rate, ..config() };
        let dir = tempfile::tempdir().unwrap();
        let Outcome::Finished(summary) = train(&config, &Bigram::new(), dir.path(), None).unwrap() else {
            panic!("not finished");
        };
        let left = checkpoints(dir.path());
        let best = summary.best.unwrap().step;
        assert!(left.contains(&12) && left.contains(&best), "{left:?}, best {best}");
        assert!(left.len() <= limit.max(2) as usize, "{left:?}");
        if learning_rate > 1.0 {
            assert!(best < 12, "a learning rate of {learning_rate} was to ruin the last steps");
        }
        let best_bytes = result(&dir.path().join(format!("checkpoint-{best}")));
        assert_eq!(result(dir.path()), best_bytes);
    }
}

#[test]
fn a_checkpoint_of_another_run_is_refused_by_the_name_of_what_differs() {
    let dir = tempfile::tempdir().unwrap();
    train(&config(), &Bigram::new(), dir.path(), None).unwrap();
    let checkpoint = dir.path().join("checkpoint-6");
    let before = (result(dir.path()), metrics(dir.path()), checkpoints(dir.path()));
    let refuse = |config: &TrainConfig, field: &str, actual: &str, expected: &str| {
        let error = train(config, &Bigram::new(), dir.path(), Some(&checkpoint)).unwrap_err().to_string();
        let says = format!("`{field}` is {actual} in this run, but {expected} in the checkpoint");
        assert!(error.contains(&says), "{error}");
    };
    refuse(&TrainConfig { learning_rate: 0.5, ..config() }, "learning_rate", "0.5", "0.05");
    refuse(&TrainConfig { seed: 1, ..config() }, "seed", "1", "42");
    refuse(&TrainConfig { micro_batch_size: 2, ..config() }, "micro_batch_size", "2", "3");

    let other = Sentences::new(RECORDS, 7);
    let (model, validation) = (Bigram::new(), Sentences::new(5, 2));
    let trainer = Trainer::new(&model, &other, config()).validation(&validation).resume_from(&checkpoint);
    let error = trainer.run(dir.path()).unwrap_err().to_string();
    assert!(error.contains("`train_checksum`"), "{error}");

    let data = Sentences::new(RECORDS, 1);
    let trainer = Trainer::new(&model, &data, config())
        .validation(&validation)
        .resume_from(&checkpoint)
        .identity("lora_alpha", 16.0);
    let error = trainer.check(dir.path()).unwrap_err().to_string();
    assert!(error.contains("`lora_alpha` is 16.0 in this run, but absent in the checkpoint"), "{error}");

    assert_eq!((result(dir.path()), metrics(dir.path()), checkpoints(dir.path())), before);
}

#[test]
fn a_fresh_run_never_mixes_with_the_checkpoints_of_another() {
    let dir = tempfile::tempdir().unwrap();
    train(&config(), &Bigram::new(), dir.path(), None).unwrap();
    let before = (metrics(dir.path()), checkpoints(dir.path()));
    let error = train(&config(), &Bigram::new(), dir.path(), None).unwrap_err();
    assert!(matches!(&error, TrainError::EarlierRun { path } if path.ends_with("checkpoint-12")), "{error}");
    assert_eq!((metrics(dir.path()), checkpoints(dir.path())), before);
}

/// Keeps the notes.
#[derive(Default)]
struct Notes(Vec<String>);

impl Reporter for Notes {
    fn note(&mut self, text: &str) {
        self.0.push(text.to_owned());
    }
}

#[test]
fn a_finished_run_can_be_made_longer_but_not_shorter_than_it_is() {
    let dir = tempfile::tempdir().unwrap();
    train(&config(), &Bigram::new(), dir.path(), None).unwrap();
    let checkpoint = dir.path().join("checkpoint-12");
    let longer = TrainConfig { num_epochs: 4, ..config() };
    let mut notes = Notes::default();
    let outcome = train_with(&longer, &Bigram::new(), dir.path(), Some(&checkpoint), &mut notes).unwrap();
    let Outcome::Finished(summary) = outcome else { panic!("not finished") };
    assert_eq!((summary.steps, checkpoints(dir.path()).last()), (16, Some(&16)));
    assert!(notes.0.iter().any(|note| note.contains("run of 16 steps")), "{:?}", notes.0);
    let shorter = TrainConfig { max_steps: Some(5), ..config() };
    let error = train(&shorter, &Bigram::new(), dir.path(), Some(&checkpoint)).unwrap_err().to_string();
    assert!(error.contains("12 steps are done there, but this run has 5"), "{error}");
}

#[test]
fn a_damaged_checkpoint_is_refused_and_nothing_else_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    train(&config(), &Bigram::new(), dir.path(), None).unwrap();
    let newest = dir.path().join("checkpoint-6");
    for (file, content) in
        [("trainer_state.json", "{"), ("optimizer.safetensors", "short"), ("bigram.safetensors", "")]
    {
        let path = newest.join(file);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, content).unwrap();
        let error = train(&config(), &Bigram::new(), dir.path(), Some(&newest)).unwrap_err();
        let mut causes = vec![error.to_string()];
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            causes.push(cause.to_string());
            source = cause.source();
        }
        assert!(causes.join(": ").contains("checkpoint-6"), "{causes:?}");
        fs::write(&path, whole).unwrap();
        assert_eq!(checkpoints(dir.path()), [2, 4, 6, 8, 10, 12]);
    }
}
