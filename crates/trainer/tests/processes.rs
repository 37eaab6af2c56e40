//! Several processes that train as one. Each is this test program again, with [`worker`] as its only test.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::cell::Cell;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use common::*;
use nn_core::{BoxError, Mode, TokenBatch, Trainable};
use process_group::{Ended, Launch, ProcessGroup, run_processes};
use serde_json::Value;
use tch::{Device, Tensor};
use trainer::{Outcome, StopFlag, TrainConfig, TrainError, Trainer};

/// Curves of different numbers of processes differ by the order of float32 sums alone.
const SAME_LOSS: f64 = 1e-6;

/// 22 records in micro-batches of 2, 4 of them a step: in the last step of an epoch there are 3, so that one of 4 processes has
/// none. 9 steps in all.
fn processes_config() -> TrainConfig {
    TrainConfig {
        micro_batch_size: 2,
        gradient_accumulation_steps: 4,
        eval_steps: 3,
        logging_steps: 1,
        ..config()
    }
}

/// A model that one process breaks in its third step.
struct Faulty {
    model: Bigram,
    fault: Option<fn() -> Result<(), BoxError>>,
    left: Cell<usize>,
}

impl Trainable for Faulty {
    fn parameters(&self) -> Vec<(String, Tensor)> {
        self.model.parameters()
    }

    fn loss_sum(&self, batch: &TokenBatch, mode: Mode) -> Result<Tensor, BoxError> {
        self.left.set(self.left.get().wrapping_sub(1));
        if let Some(fault) = self.fault.filter(|_| self.left.get() == 0) {
            fault()?;
        }
        self.model.loss_sum(batch, mode)
    }

    fn save(&self, dir: &Path) -> Result<(), BoxError> {
        self.model.save(dir)
    }

    fn restore(&self, dir: &Path) -> Result<(), BoxError> {
        self.model.restore(dir)
    }
}

fn die() -> Result<(), BoxError> {
    let pid = std::process::id().to_string();
    Command::new("kill").args(["-KILL", &pid]).status()?;
    unreachable!("killed");
}

fn fail() -> Result<(), BoxError> {
    Err("out of memory, say".into())
}

/// One process of a run; in an ordinary test run there is nothing to do.
#[test]
fn worker() {
    let Ok(task) = env::var("WORKER") else { return };
    tch::set_num_threads(1);
    let dir = PathBuf::from(env::var("WORKER_DIR").unwrap());
    let resume = env::var_os("WORKER_RESUME").map(PathBuf::from);
    let group = ProcessGroup::join(Launch::from_env().unwrap(), Device::Cpu).unwrap();
    let result = run(&task, &group, &dir.join("run"), resume.as_deref());
    let text = match &result {
        Ok(Outcome::Finished(summary)) => format!("finished {}", summary.steps),
        Ok(Outcome::Stopped { step, checkpoint, .. }) => format!("stopped {step} {}", checkpoint.is_some()),
        Err(error) => {
            let reported = group.fail(&error.to_string());
            format!("error, reported: {reported}: {error}")
        }
    };
    fs::write(dir.join(format!("outcome-{}", group.rank())), text).unwrap();
    assert!(result.is_ok());
    group.leave().unwrap();
}

fn run(task: &str, group: &ProcessGroup, dir: &Path, resume: Option<&Path>) -> Result<Outcome, TrainError> {
    let is_second = group.rank() == 1;
    let fault: Option<fn() -> Result<(), BoxError>> = match task {
        "die" if is_second => Some(die),
        "die first" if group.is_first() => Some(die),
        "fail" if is_second => Some(fail),
        _ => None,
    };
    let mut model = Bigram::new();
    if task == "broken" {
        model.broken = Broken::Factor(f64::NAN);
    }
    let stop = StopFlag::new();
    if task == "stop" && is_second {
        model.stop_in = Some((9, stop.clone()));
    }
    // A step of 2 processes has 2 micro-batches for each.
    let model = Faulty { model, fault, left: Cell::new(5) };
    let mut data = Sentences::new(RECORDS, if task == "other data" && is_second { 7 } else { 1 });
    if task == "broken" {
        // In the second micro-batch of the first step, which is the second process's.
        let third = nn_core::Dataset::epoch_order(&data, 0, 0)[2];
        data.0[third][0] = BAD_TOKEN;
    }
    let validation = Sentences::new(5, 2);
    let config = match task {
        "idle" => TrainConfig { gradient_accumulation_steps: 1, ..processes_config() },
        _ => processes_config(),
    };
    let mut trainer =
        Trainer::new(&model, &data, config).validation(&validation).group(group).stop_flag(stop);
    if let Some(checkpoint) = resume {
        trainer = trainer.resume_from(checkpoint);
    }
    trainer.run(dir)
}

/// Runs a task in `count` processes; returns their end and what each said of it.
fn run_in(count: usize, task: &str, dir: &Path, resume: Option<&Path>) -> (Ended, Vec<String>) {
    let command = |_| {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["worker", "--exact", "--test-threads=1", "-q"]);
        command.env("WORKER", task).env("WORKER_DIR", dir).stdout(std::process::Stdio::null());
        if let Some(checkpoint) = resume {
            command.env("WORKER_RESUME", checkpoint);
        }
        command
    };
    let ended = run_processes(count, &command, &|| false).unwrap();
    let outcome = |rank| fs::read_to_string(dir.join(format!("outcome-{rank}"))).unwrap_or_default();
    (ended, (0..count).map(outcome).collect())
}

/// Trains to the end in a new directory.
fn finished(count: usize) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let (ended, outcomes) = run_in(count, "train", dir.path(), None);
    assert_eq!((ended.code, outcomes), (0, vec!["finished 9".to_owned(); count]));
    dir
}

fn run_of(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().join("run")
}

/// Checks that two curves are the same but for the order of sums.
fn assert_same_curve(actual: &[Value], expected: &[Value]) {
    assert_eq!(actual.len(), expected.len());
    for (actual, expected) in actual.iter().zip(expected) {
        let (actual, expected) = (actual.as_object().unwrap(), expected.as_object().unwrap());
        assert!(actual.keys().eq(expected.keys()));
        for (name, value) in actual {
            let (value, expected) = (value.as_f64(), expected[name].as_f64());
            let difference = value.unwrap_or(0.0) - expected.unwrap_or(0.0);
            assert!(difference.abs() <= SAME_LOSS, "{name}: {value:?} {expected:?}");
        }
    }
}

#[test]
fn the_curve_of_several_processes_is_that_of_one() {
    let one = metrics(&run_of(&finished(1)));
    assert_eq!(one.iter().filter(|line| line.get("eval_loss").is_some()).count(), 3);
    for count in [2, 3, 4] {
        let several = finished(count);
        assert_same_curve(&metrics(&run_of(&several)), &one);
        assert_eq!(checkpoints(&run_of(&several)), [2, 3, 4, 6, 8, 9]);
    }
}

#[test]
fn the_same_number_of_processes_gives_the_same_bytes() {
    for count in [2, 4] {
        let (first, second) = (finished(count), finished(count));
        assert_eq!(metrics(&run_of(&first)), metrics(&run_of(&second)));
        for file in ["bigram.safetensors", "checkpoint-9/optimizer.safetensors"] {
            let bytes = |dir| fs::read(run_of(dir).join(file)).unwrap();
            assert_eq!(bytes(&first), bytes(&second), "{file}");
        }
    }
}

#[test]
fn a_run_of_four_processes_is_resumed_by_four_two_or_one() {
    let whole = finished(4);
    for (count, step) in [(4, 3), (2, 4), (1, 6)] {
        let dir = tempfile::tempdir().unwrap();
        copy_dir(&run_of(&whole), &run_of(&dir));
        let checkpoint = run_of(&dir).join(format!("checkpoint-{step}"));
        let (ended, outcomes) = run_in(count, "train", dir.path(), Some(&checkpoint));
        assert_eq!((ended.code, outcomes), (0, vec!["finished 9".to_owned(); count]));
        assert_same_curve(&metrics(&run_of(&dir)), &metrics(&run_of(&whole)));
        if count == 4 {
            assert_eq!(result(&run_of(&dir)), result(&run_of(&whole)));
        }
    }
}

#[test]
fn a_stop_that_one_process_is_asked_for_stops_all_after_the_same_step() {
    let dir = tempfile::tempdir().unwrap();
    let (ended, outcomes) = run_in(2, "stop", dir.path(), None);
    assert_eq!((ended.code, &*outcomes[0]), (0, "stopped 5 true"), "{outcomes:?}");
    assert_eq!(outcomes[0], outcomes[1]);
    let checkpoint = run_of(&dir).join("checkpoint-5");
    let (_, outcomes) = run_in(2, "train", dir.path(), Some(&checkpoint));
    assert_eq!(outcomes, ["finished 9", "finished 9"]);
    assert_eq!(result(&run_of(&dir)), result(&run_of(&finished(2))));
}

#[test]
fn a_killed_process_ends_the_others_within_30_seconds_with_its_name() {
    for (task, killed) in [("die", 1), ("die first", 0)] {
        let dir = tempfile::tempdir().unwrap();
        let begun = Instant::now();
        let (ended, outcomes) = run_in(3, task, dir.path(), None);
        assert!(begun.elapsed().as_secs() < 30);
        assert_eq!((ended.code, ended.rank), (128 + 9, Some(killed)));
        for (rank, outcome) in outcomes.iter().enumerate().filter(|(rank, _)| *rank != killed) {
            let name = format!("rank {killed} on ");
            assert!(
                outcome.contains(&name) && outcome.ends_with("has ended without a word"),
                "{rank}: {outcome}"
            );
        }
    }
}

#[test]
fn a_process_that_fails_tells_the_others_why() {
    let dir = tempfile::tempdir().unwrap();
    let (ended, outcomes) = run_in(2, "fail", dir.path(), None);
    assert_eq!(ended.code, 101);
    assert!(outcomes[0].contains("reported: false: rank 1 on "), "{outcomes:?}");
    assert!(outcomes[0].contains("cannot compute the loss of 2 sequences"), "{outcomes:?}");
    assert!(outcomes[1].contains("reported: true: cannot compute the loss"), "{outcomes:?}");
}

#[test]
fn numbers_that_cannot_be_used_are_seen_by_all_and_reported_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let (ended, mut outcomes) = run_in(2, "broken", dir.path(), None);
    assert_eq!(ended.code, 101);
    outcomes.sort();
    assert!(
        outcomes[0].starts_with("error, reported: false: stopped before step 1: loss NaN"),
        "{outcomes:?}"
    );
    assert_eq!(outcomes[0].replace("false", "true"), outcomes[1]);
}

#[test]
fn processes_that_would_not_do_the_same_are_refused_by_name() {
    for (task, expected) in [
        ("other data", "rank 1 has settings with digest"),
        ("idle", "2 processes share out the micro-batches of a step, which are 1"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (ended, outcomes) = run_in(2, task, dir.path(), None);
        assert_eq!(ended.code, 101, "{outcomes:?}");
        assert!(outcomes.iter().all(|outcome| outcome.contains(expected)), "{outcomes:?}");
        assert!(!run_of(&dir).exists());
    }
}
