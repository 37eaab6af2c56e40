//! What a run reads, who owns its directory, and how it ends in a hostile world.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::{Done, RECORDS, Scene, adapter, names, records, run};
use serde_json::Value;

const LATEST: [&str; 2] = ["--resume_from_checkpoint", "latest"];

/// A run of eight steps, with checkpoints after four and after eight of them.
fn eight<'a>(scene: &Scene, out: &str, more: &[&'a str]) -> Command {
    let own = [
        "--max_steps",
        "8",
        "--save_steps",
        "4",
        "--eval_steps",
        "100",
        "--prompt_template_name",
        "asked.json",
    ];
    scene.finetune(out, &[&own, more].concat::<&'a str>())
}

/// A scene with a template of its own, in which a run was killed between its two checkpoints; and the adapter it would
/// have ended in.
fn killed_run() -> (Scene, Vec<u8>) {
    let scene = Scene::new();
    let template =
        fs::read_to_string(common::workspace().join("crates/alpaca-data/templates/alpaca_short.json"));
    scene.write("asked.json", template.unwrap());
    run(&mut eight(&scene, "out", &[])).ok();
    let expected = adapter(&scene.path("out"));
    for file in ["adapter_model.safetensors", "adapter_config.json", "summary.json"] {
        fs::remove_file(scene.path("out").join(file)).unwrap();
    }
    (scene, expected)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for name in names(from) {
        let (from, to) = (from.join(&name), to.join(&name));
        if from.is_dir() { copy(&from, &to) } else { fs::copy(&from, &to).map(|_| ()).unwrap() }
    }
}

fn flip(path: &Path, at: impl Fn(usize) -> usize) {
    let mut bytes = fs::read(path).unwrap();
    let at = at(bytes.len());
    bytes[at] ^= 4;
    fs::write(path, bytes).unwrap();
}

/// Changes a file so that its size and the time of its last change stay.
fn flip_behind_its_time(path: &Path, at: impl Fn(usize) -> usize) {
    let time = fs::metadata(path).unwrap().modified().unwrap();
    flip(path, at);
    File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

#[test]
fn a_run_resumes_over_what_it_began_with_and_over_nothing_else() {
    let (scene, expected) = killed_run();
    fs::remove_dir_all(scene.path("out/checkpoint-8")).unwrap();
    let refused = |named: &str, more: &[&str]| {
        let done = run(&mut eight(&scene, "out", &[&LATEST, more].concat()));
        done.refused(1, &["cannot resume from", named, "BLAKE3", "begin a new run"]);
        assert!(names(&scene.path("out")).contains(&"checkpoint-4".to_owned()));
    };
    copy(&scene.path("model"), &scene.path("other"));
    let other = ["--base_model", "other"];
    flip_behind_its_time(&scene.path("other/model.safetensors"), |length| length - 3);
    refused("file `model.safetensors` of the base", &other);
    fs::copy(scene.path("model/model.safetensors"), scene.path("other/model.safetensors")).unwrap();
    let config = fs::read_to_string(scene.path("other/config.json")).unwrap();
    scene.write("other/config.json", config.replacen("\"rms_norm_eps\"", " \"rms_norm_eps\"", 1));
    refused("file `config.json` of the base", &other);
    scene.write("other/config.json", config);
    let tokenizer = fs::read_to_string(scene.path("model/tokenizer.json")).unwrap();
    scene.write("other/tokenizer.json", format!("{tokenizer}\n"));
    refused("file `tokenizer.json` of the base", &other);

    // The last record of all, which no checksum of the first ones covers.
    let mut changed = records(RECORDS);
    changed[RECORDS - 1]["output"] = "Entirely another answer.".into();
    scene.write("changed.json", changed.to_string());
    refused("training data (data_path)", &["--data_path", "changed.json"]);

    let template = fs::read_to_string(scene.path("asked.json")).unwrap();
    scene.write("asked.json", template.replace("### Instruction", "### Question"));
    refused("prompt template", &[]);
    scene.write("asked.json", template);

    // The same content under another name is the same input.
    scene.write("other/tokenizer.json", tokenizer);
    scene.write("renamed.json", records(RECORDS).to_string());
    run(&mut eight(&scene, "out", &[&LATEST[..], &other, &["--data_path", "renamed.json"]].concat())).ok();
    assert_eq!(adapter(&scene.path("out")), expected);
}

#[test]
fn a_damaged_checkpoint_is_refused_by_its_file_and_the_intact_one_is_offered() {
    let (scene, expected) = killed_run();
    for file in names(&scene.path("out/checkpoint-8")) {
        for at in [|_| 0, |length| length / 2, |length| length - 1] {
            copy(&scene.path("out"), &scene.path("damaged"));
            flip(&scene.path("damaged/checkpoint-8").join(&file), at);
            let offer = "`damaged/checkpoint-4` is intact: resume from that";
            run(&mut eight(&scene, "damaged", &LATEST))
                .refused(1, &["checkpoint-8", &file, "damaged", offer]);
            fs::remove_dir_all(scene.path("damaged")).unwrap();
        }
    }
    for file in ["B3SUMS", "trainer_state.json", "optimizer.safetensors"] {
        copy(&scene.path("out"), &scene.path("damaged"));
        fs::remove_file(scene.path("damaged/checkpoint-8").join(file)).unwrap();
        run(&mut eight(&scene, "damaged", &LATEST)).refused(1, &[file, "missing"]);
        if file != "optimizer.safetensors" {
            fs::remove_dir_all(scene.path("damaged")).unwrap();
        }
    }
    run(&mut eight(&scene, "damaged", &["--resume_from_checkpoint", "damaged/checkpoint-4"])).ok();
    assert_eq!(adapter(&scene.path("damaged")), expected);
}

#[test]
fn a_checkpoint_without_digests_of_an_earlier_version_is_resumed_with_a_note() {
    let (scene, expected) = killed_run();
    fs::remove_dir_all(scene.path("out/checkpoint-8")).unwrap();
    let state = scene.path("out/checkpoint-4/trainer_state.json");
    let mut fields: Value = serde_json::from_slice(&fs::read(&state).unwrap()).unwrap();
    fields.as_object_mut().unwrap().remove("inputs");
    fs::write(&state, fields.to_string()).unwrap();
    fs::remove_file(scene.path("out/checkpoint-4/B3SUMS")).unwrap();
    let done = run(&mut eight(&scene, "out", &LATEST)).ok();
    assert!(done.stderr.contains("of an earlier version, without digests"), "{}", done.stderr);
    assert_eq!(adapter(&scene.path("out")), expected);
}

#[test]
fn a_message_that_nobody_reads_never_ends_a_run() {
    let scene = Scene::new();
    // `finetune 2>&1 | head -1`: the reader leaves after the first line.
    let mut child = scene.finetune("closed", &[]).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
    run(&mut scene.finetune("read", &[])).ok();
    assert_eq!(adapter(&scene.path("closed")), adapter(&scene.path("read")));
    let Ok(full) = File::options().write(true).open("/dev/full") else {
        eprintln!("skipped: a_message_that_nobody_reads needs /dev/full");
        return;
    };
    let mut command = scene.finetune("full", &[]);
    command.stdout(full.try_clone().unwrap()).stderr(full.try_clone().unwrap());
    assert!(command.status().unwrap().success());
    assert_eq!(adapter(&scene.path("full")), adapter(&scene.path("read")));
    let mut command = scene.finetune("full", &["--lora_r", "0"]);
    assert_eq!(command.stderr(full).status().unwrap().code(), Some(2), "an error keeps its exit code");
}

#[test]
fn metrics_that_are_no_text_are_told_and_left_out() {
    let (scene, expected) = killed_run();
    fs::remove_dir_all(scene.path("out/checkpoint-8")).unwrap();
    let metrics = scene.path("out/metrics.jsonl");
    let whole = common::metrics(&scene.path("out"));
    let text = fs::read(&metrics).unwrap();
    let (first, rest) = text.split_at(text.iter().position(|&byte| byte == b'\n').unwrap() + 1);
    fs::write(&metrics, [first, b"\xFF\xFE{\n", rest].concat()).unwrap();
    let done = run(&mut eight(&scene, "out", &LATEST)).ok();
    assert!(done.stderr.contains("1 lines that cannot be read are left out"), "{}", done.stderr);
    assert_eq!((adapter(&scene.path("out")), common::metrics(&scene.path("out"))), (expected, whole));
}

#[test]
fn of_two_runs_in_one_directory_one_trains() {
    let scene = Scene::new();
    let start = |rate: &str| scene.finetune("out", &["--learning_rate", rate]).spawn().unwrap();
    let rates = ["0.02", "0.03"];
    let children = rates.map(start);
    let ended = children.map(|child| {
        let output = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let program = "finetune".to_owned();
        Done { program, code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    });
    let winner = ended.iter().position(|done| done.code == Some(0)).expect("one ends well");
    let [first, second] = ended;
    let loser = if winner == 0 { second } else { first };
    assert!(!loser.stderr.lines().any(|line| line.starts_with("step ")), "{}", loser.stderr);
    let code = loser.code.unwrap();
    loser.refused(code, &["`out`"]);
    let settings = fs::read_to_string(scene.path("out/run.toml")).unwrap();
    assert!(settings.contains(&format!("learning_rate = {}", rates[winner])), "{settings}");
}

/// Starts a run that goes on for minutes and waits for its third step.
fn long_run(scene: &Scene, out: &str) -> (Child, BufReader<std::process::ChildStderr>) {
    let mut child = scene.finetune(out, &["--num_epochs", "2000", "--save_steps", "100000"]).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("step 3/") {
        line.clear();
        assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "ended early");
    }
    (child, stderr)
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

#[test]
fn a_directory_in_use_is_refused_with_its_owner_and_a_dead_owner_is_none() {
    let scene = Scene::new();
    let (mut child, _stderr) = long_run(&scene, "out");
    let owner = format!("in use by process {} on ", child.id());
    for flags in [&LATEST[..], &["--overwrite_output_dir"]] {
        run(&mut scene.finetune("out", flags)).refused(1, &["`out`", &owner]);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(scene.path("out/run.lock").exists(), "a killed process removes nothing");
    run(&mut scene.finetune("out", &["--overwrite_output_dir"])).ok();
    assert!(!scene.path("out/run.lock").exists());
}

#[test]
fn a_second_signal_ends_at_once_without_a_word() {
    let scene = Scene::new();
    for pause in [0, 1, 5, 20, 50, 80] {
        let (mut child, stderr) = long_run(&scene, &format!("out{pause}"));
        signal(&child, "TERM");
        std::thread::sleep(Duration::from_millis(pause));
        let second =
            Command::new("kill").args(["-INT", &child.id().to_string()]).stderr(Stdio::null()).status();
        let code = child.wait().unwrap().code();
        // Where the step was over sooner, the first signal has had its way.
        assert!(code == Some(130) || code == Some(0), "{code:?} {second:?}");
        let said: Vec<String> =
            stderr.lines().map(Result::unwrap).filter(|line| !line.starts_with("step ")).collect();
        let expected = ["stopping: saving", "saved ", " INFO stopped after step"];
        assert!(said.iter().all(|line| expected.iter().any(|start| line.starts_with(start))), "{said:?}");
    }
}

#[test]
fn a_second_signal_needs_no_reader_of_the_first_ones_message() {
    let scene = Scene::new();
    let (mut child, stderr) = long_run(&scene, "out");
    drop(stderr);
    signal(&child, "HUP");
    signal(&child, "HUP");
    signal(&child, "INT");
    let code = child.wait().unwrap().code();
    assert!(code == Some(130) || code == Some(0), "{code:?}");
}

#[test]
fn the_largest_size_of_a_file_is_a_full_disk() {
    let scene = Scene::new();
    let finetune = scene.finetune("out", &["--lora_r", "64"]);
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "ulimit -f 16; exec \"$@\"", "sh"])
        .arg(finetune.get_program())
        .args(finetune.get_args());
    limited.current_dir(scene.path(".")).env("OMP_NUM_THREADS", "1");
    run(&mut limited).refused(1, &["the disk is full: cannot write `", "File too large"]);
    assert!(
        !names(&scene.path("out")).iter().any(|name| name.contains("checkpoint") || name.starts_with('.'))
    );
}
