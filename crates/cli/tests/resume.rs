//! A `finetune` that is killed at any moment and resumed ends in the bytes of one that was not.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::Duration;

use common::{Scene, adapter, metrics, names, run, until};
use nn_core::mix_seed;

const LATEST: [&str; 2] = ["--resume_from_checkpoint", "latest"];

/// Waits until something in `dir` is named so. False when `child` ends first.
fn appears(dir: &Path, child: &mut Child, is: impl Fn(&str) -> bool) -> bool {
    let entries = || fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    until(child, || entries().any(|entry| entry.file_name().to_str().is_some_and(&is)))
}

/// Returns how many steps are written in `dir`.
fn written(dir: &Path) -> usize {
    fs::read_to_string(dir.join("metrics.jsonl")).map_or(0, |text| text.lines().count())
}

/// Sends a signal by name, as a shell does.
fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Returns the results of a run; checks that nothing half-written is beside them.
fn results(dir: &Path) -> (Vec<u8>, Vec<serde_json::Value>) {
    assert!(!names(dir).iter().any(|name| name.starts_with('.')), "{:?}", names(dir));
    (adapter(dir), metrics(dir))
}

#[test]
fn a_killed_and_resumed_run_ends_in_the_same_bytes() {
    let scene = Scene::new();
    run(&mut scene.finetune("whole", &[])).ok();
    let expected = results(&scene.path("whole"));
    assert!(expected.1.len() > 20, "{:?}", expected.1);

    let (mut kills, mut with_checkpoint) = (0, 0);
    // On a busy machine a run may go on for many steps before it is killed; further rounds make up for it.
    for round in 0..6 {
        if round >= 2 && kills >= 8 && with_checkpoint >= 3 {
            break;
        }
        let name = format!("killed{round}");
        let dir = scene.path(&name);
        for attempt in 0.. {
            assert!(attempt < 100, "no progress");
            // Some steps further than before, and then at any moment of a step.
            let random = mix_seed(round, attempt);
            let steps = written(&dir) + 1 + (random % 4) as usize;
            let mut child = scene.finetune(&name, &LATEST).spawn().unwrap();
            let killed = until(&mut child, || written(&dir) >= steps) && {
                sleep(Duration::from_micros(random % 5000));
                let runs = child.try_wait().unwrap().is_none();
                child.kill().unwrap();
                runs
            };
            let status = child.wait().unwrap();
            if !killed {
                assert!(status.success());
                break;
            }
            kills += 1;
            with_checkpoint += u64::from(names(&dir).iter().any(|file| file.starts_with("checkpoint-")));
        }
        assert_eq!(results(&dir), expected, "round {round}");
    }
    assert!(kills >= 8, "{kills} kills");
    assert!(with_checkpoint >= 3, "{with_checkpoint} of {kills} kills left a checkpoint");
    eprintln!("{kills} kills, {with_checkpoint} of them after a checkpoint");
}

#[test]
fn a_run_killed_in_its_first_step_or_while_saving_ends_in_the_same_bytes() {
    let scene = Scene::new();
    run(&mut scene.finetune("whole", &[])).ok();
    let expected = results(&scene.path("whole"));

    // Nothing is saved yet: `latest` begins anew in the same place.
    let mut child = scene.finetune("first", &[]).spawn().unwrap();
    assert!(appears(&scene.path("first"), &mut child, |file| file == "runs"));
    child.kill().unwrap();
    child.wait().unwrap();
    let done = run(&mut scene.finetune("first", &LATEST)).ok();
    if !done.stderr.contains("starting anew") {
        assert!(names(&scene.path("first")).iter().any(|file| file.starts_with("checkpoint-")));
    }
    assert_eq!(results(&scene.path("first")), expected);

    let mut in_the_act = 0;
    for attempt in 0..4 {
        let args: &[&str] = if attempt == 0 { &[] } else { &LATEST };
        let mut child = scene.finetune("saving", args).spawn().unwrap();
        let half = |file: &str| file.starts_with(".checkpoint-") && file.contains(".tmp-");
        if appears(&scene.path("saving"), &mut child, half) {
            child.kill().unwrap();
        }
        child.wait().unwrap();
        in_the_act += u32::from(names(&scene.path("saving")).iter().any(|file| half(file)));
    }
    assert!(in_the_act >= 1, "no kill fell into the writing of a checkpoint");
    run(&mut scene.finetune("saving", &LATEST)).ok();
    assert_eq!(results(&scene.path("saving")), expected);
}

#[test]
fn an_interrupted_run_saves_and_leaves_cleanly() {
    let scene = Scene::new();
    run(&mut scene.finetune("whole", &[])).ok();
    let expected = results(&scene.path("whole"));
    for (signal_name, step) in [("INT", 2), ("TERM", 6)] {
        // More than one step between two checkpoints, so that the one the signal asks for is a step of its own.
        let mut args = vec!["--save_steps", "100", "--load_best_model_at_end", "true"];
        let mut child = scene.finetune(signal_name, &args).spawn().unwrap();
        let dir = scene.path(signal_name);
        assert!(until(&mut child, || written(&dir) >= step), "ended before it was asked to");
        signal(&child, signal_name);
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{stderr}");
        assert!(stderr.contains("go on with --resume_from_checkpoint"), "{stderr}");
        assert_eq!(stderr.matches("stopping: saving a checkpoint").count(), 1, "{stderr}");
        assert!(names(&dir).iter().any(|file| file.starts_with("checkpoint-")), "{:?}", names(&dir));
        assert!(!dir.join("adapter_model.safetensors").exists());
        args.extend(LATEST);
        run(&mut scene.finetune(signal_name, &args)).ok();
        assert_eq!(results(&dir), expected);
    }
}

#[test]
fn a_finished_run_is_resumed_for_more_steps() {
    let scene = Scene::new();
    run(&mut scene.finetune("out", &[])).ok();
    let first = results(&scene.path("out"));
    run(&mut scene.finetune("out", &LATEST)).ok();
    assert_eq!(results(&scene.path("out")), first, "nothing is left to do");
    let more = run(&mut scene.finetune("out", &[&LATEST[..], &["--num_epochs", "5"]].concat())).ok();
    assert!(more.stderr.contains("resumed after step 20 as a run of 25 steps"), "{}", more.stderr);
    assert!(names(&scene.path("out")).contains(&"checkpoint-25".to_owned()));
    assert_eq!(metrics(&scene.path("out")).last().unwrap()["step"], 25);
}
