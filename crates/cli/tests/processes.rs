//! `finetune` in several processes, by every way to start them that is here.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::path::Path;
use std::process::Command;

use common::{Scene, adapter, metrics, names, run};

/// Steps of 4 micro-batches, in float32.
const STEP: [&str; 8] =
    ["--micro_batch_size", "1", "--dtype", "float32", "--num_epochs", "2", "--save_total_limit", "20"];

/// Relative difference of curves, by the order of sums alone.
const SAME_LOSS: f64 = 1e-6;

fn losses(dir: &Path) -> Vec<f64> {
    let loss = |line: &serde_json::Value| {
        line.get("loss").or_else(|| line.get("eval_loss")).and_then(serde_json::Value::as_f64)
    };
    metrics(dir).iter().filter_map(loss).collect()
}

fn assert_same_losses(actual: &Path, expected: &Path) {
    let (actual, expected) = (losses(actual), losses(expected));
    assert_eq!(actual.len(), expected.len());
    for (actual, expected) in actual.iter().zip(&expected) {
        assert!((actual / expected - 1.0).abs() < SAME_LOSS, "{actual} {expected}");
    }
}

/// `finetune` as it is, started by another program.
fn under(launcher: &[&str], finetune: &Command) -> Command {
    let mut command = Command::new(launcher[0]);
    command.args(&launcher[1..]).arg(finetune.get_program()).args(finetune.get_args());
    command.current_dir(finetune.get_current_dir().unwrap()).env("OMP_NUM_THREADS", "1");
    command
}

#[test]
fn processes_write_what_one_does_and_speak_with_one_voice() {
    let scene = Scene::new();
    let one = run(&mut scene.finetune("one", &STEP)).ok();
    for count in ["2", "4"] {
        let flags = [&STEP[..], &["--processes", count]].concat();
        let several = run(&mut scene.finetune(count, &flags)).ok();
        assert_same_losses(&scene.path(count), &scene.path("one"));
        assert_eq!(names(&scene.path(count)), names(&scene.path("one")));
        assert_eq!(several.stderr.lines().count(), one.stderr.lines().count(), "{}", several.stderr);
        assert_eq!(several.stdout.trim(), count);
    }
}

#[test]
fn under_mpirun_two_and_four_processes_train_and_two_go_on_where_four_stopped() {
    if !Command::new("mpirun").arg("--version").output().is_ok_and(|out| out.status.success()) {
        eprintln!("skipped: mpirun is absent (Debian's openmpi-bin)");
        return;
    }
    let scene = Scene::new();
    run(&mut scene.finetune("one", &STEP)).ok();
    let mpirun =
        |count| ["mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "-n", count];
    for count in ["2", "4"] {
        let name = format!("mpi{count}");
        run(&mut under(&mpirun(count), &scene.finetune(&name, &STEP))).ok();
        assert_same_losses(&scene.path(&name), &scene.path("one"));
        // Whoever starts as many processes, the bytes are the same.
        let own = format!("own{count}");
        run(&mut scene.finetune(&own, &[&STEP[..], &["--processes", count]].concat())).ok();
        assert_eq!(adapter(&scene.path(&name)), adapter(&scene.path(&own)));
    }
    let flags = [&STEP[..], &["--resume_from_checkpoint", "mpi4/checkpoint-4"]].concat();
    run(&mut under(&mpirun("2"), &scene.finetune("mpi4", &flags))).ok();
    assert_same_losses(&scene.path("mpi4"), &scene.path("one"));
}

#[test]
fn launchers_and_flags_that_contradict_each_other_are_refused() {
    let scene = Scene::new();
    run(scene.finetune("out", &STEP).env("RANK", "0")).refused(2, &["RANK is set and WORLD_SIZE is not"]);
    run(scene.finetune("out", &STEP).env("OMPI_COMM_WORLD_SIZE", "2"))
        .refused(2, &["OMPI_COMM_WORLD_SIZE is set and OMPI_COMM_WORLD_RANK is not"]);
    let mut both = scene.finetune("out", &[&STEP[..], &["--processes", "3"]].concat());
    both.envs([("RANK", "0"), ("LOCAL_RANK", "0"), ("WORLD_SIZE", "2")]);
    both.envs([("MASTER_ADDR", "127.0.0.1"), ("MASTER_PORT", "29500")]);
    run(&mut both).refused(2, &["3 processes are asked for, but torchrun has started 2"]);
    let idle = [&STEP[..], &["--processes", "5"]].concat();
    run(&mut scene.finetune("out", &idle)).refused(2, &["micro-batches of a step, which are 4"]);
    assert!(!scene.path("out/run.toml").exists());
    let held = [&STEP[..], &["--processes", "2"]].concat();
    run(&mut scene.finetune("held", &held)).ok();
    run(&mut scene.finetune("held", &held)).refused(2, &["`held` holds another run"]);
}
