//! Manners: help, quiet and loud, JSON, a plan that does not fit, a run file that explains itself.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::process::{Command, Stdio};

use common::{Scene, names, run};
use serde_json::Value;

fn generate(scene: &Scene, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_generate"));
    let own = ["--base_model", "model", "--device", "cpu", "--temperature", "0", "--max_new_tokens", "6"];
    command
        .args(own)
        .args(args)
        .current_dir(scene.path(""))
        .env("OMP_NUM_THREADS", "1")
        .env_remove("RUST_LOG");
    command.stdin(Stdio::null());
    command
}

#[test]
fn finetune_without_arguments_shows_how_to_begin() {
    let done = run(&mut Scene::new().bare(&[]));
    assert_eq!((done.code, done.stdout.as_str()), (Some(2), ""));
    for part in ["Usage: finetune", "Example:", "finetune --base_model", "--data_path", "--help"] {
        assert!(done.stderr.contains(part), "{part}\n{}", done.stderr);
    }
}

#[test]
fn quiet_leaves_warnings_and_rust_log_is_heeded() {
    let scene = Scene::new();
    let short = ["--max_steps", "2", "--overwrite_output_dir"];
    let told = |args: &[&str], log: Option<&str>| {
        let mut command = scene.finetune("out", &[&short[..], args].concat());
        log.map(|log| command.env("RUST_LOG", log));
        run(&mut command).ok()
    };
    let plain = told(&[], None);
    assert!(plain.stderr.contains("INFO") && plain.stderr.contains("step 1/2"), "{}", plain.stderr);
    for quiet in [told(&["-q"], None), told(&["--quiet"], Some("debug"))] {
        assert!(!quiet.stderr.contains("INFO") && !quiet.stderr.contains("step 1/2"), "{}", quiet.stderr);
        assert!(
            quiet.stderr.contains("WARN") && quiet.stderr.contains("--warmup_steps 0"),
            "{}",
            quiet.stderr
        );
        assert_eq!(quiet.stdout, plain.stdout);
    }
    assert!(!told(&[], Some("error")).stderr.contains("WARN"));
    let wrong = told(&[], Some("a=b=c"));
    assert!(wrong.stderr.contains("RUST_LOG is `a=b=c`"), "{}", wrong.stderr);
    let both = run(&mut scene.finetune("out", &["-q", "-v"]));
    assert_eq!(both.code, Some(2), "{}", both.stderr);
}

#[test]
fn a_plan_gives_memory_time_and_disk_as_text_and_as_json() {
    let scene = Scene::new();
    let plan = |args: &[&str]| run(&mut scene.finetune("out", &[&["--plan"], args].concat()));
    let text = plan(&[]).ok().stdout;
    // 20 records at 4 a step, 4 epochs.
    for part in ["for 20 steps", "GFLOP/s", "disk, estimated", "5 of "] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let json: Value = serde_json::from_str(&plan(&["--json"]).ok().stdout).unwrap();
    assert_eq!((&json["trainable_parameters"], &json["fits"]), (&2048.into(), &true.into()));
    assert_eq!(json["time"]["steps"], 20);
    assert!(json["time"]["seconds"].as_f64().unwrap() > 0.0 && json["disk_bytes"].as_f64().unwrap() > 0.0);
    let unread: Value =
        serde_json::from_str(&plan(&["--json", "--data_path", "none.json"]).ok().stdout).unwrap();
    assert!(unread["time"].is_null() && unread["no_time"].as_str().unwrap().contains("none.json"));
    assert_eq!(run(&mut scene.finetune("out", &["--json"])).code, Some(2));
    assert_eq!(names(&scene.path("")), ["data.json", "model"]);
}

#[test]
fn a_plan_that_does_not_fit_ends_with_3() {
    let scene = Scene::new();
    let huge = [
        "--plan",
        "--json",
        "--batch_size",
        "65536",
        "--micro_batch_size",
        "65536",
        "--cutoff_len",
        "1048576",
    ];
    let done = run(&mut scene.finetune("out", &huge)).refused(3, &["does not fit", "micro_batch_size"]);
    let json: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(json["fits"], false);
}

#[test]
fn a_printed_config_explains_itself_and_is_the_run() {
    let scene = Scene::new();
    let printed = run(&mut scene.bare(&["--print_config", "--recipe", "qlora", "--lora_r", "4"])).ok().stdout;
    for part in
        ["# Peak learning rate\nlearning_rate = 0.0002\n", "## Adapter", "lora_r = 4\n", "# max_steps =\n"]
    {
        assert!(printed.contains(part), "{part}\n{printed}");
    }
    scene.write("run.toml", &printed);
    let again = run(&mut scene.bare(&["--print_config", "--config", "run.toml"])).ok().stdout;
    assert_eq!(again, printed);
}

#[test]
fn one_answer_comes_as_json() {
    let scene = Scene::new();
    let done = run(&mut generate(&scene, &["--instruction", "Say sun.", "--json", "--show_tokens"])).ok();
    let json: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!((&json["instruction"], &json["input"]), (&"Say sun.".into(), &"".into()));
    assert_eq!(
        json["tokens"]["answer"].as_array().unwrap().len() as u64,
        json["completion_tokens"].as_u64().unwrap()
    );
    let text = run(&mut generate(&scene, &["--instruction", "Say sun."])).ok().stdout;
    assert_eq!(json["answer"].as_str().unwrap(), text.trim_end_matches('\n'));
    run(&mut generate(&scene, &["--json", "--interactive"])).refused(2, &["json is for one answer"]);
}
