//! An adapter is used as it was trained: its template, its quantisation and its base, unless a flag says otherwise.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs;
use std::process::Command;

use common::{Done, Scene, run};

/// A scene with an adapter in `lora` that was trained in `alpaca_short` over NF4 with double quantisation.
fn scene() -> Scene {
    let scene = Scene::new();
    let args = ["--max_steps", "12", "--learning_rate", "0.05", "--quantize", "nf4", "--double_quant"];
    run(&mut scene.finetune("lora", &args)).ok();
    scene
}

/// Runs a program in the scene without the user's settings.
fn program(scene: &Scene, path: &str, args: &[&str]) -> Done {
    let mut command = Command::new(path);
    command.current_dir(scene.path(".")).args(args).args(["--threads", "1"]);
    run(command.env("OMP_NUM_THREADS", "1").env_remove("BASE_MODEL").env("HF_HUB_OFFLINE", "1"))
}

const GENERATE: &str = env!("CARGO_BIN_EXE_generate");
const EVALUATE: &str = env!("CARGO_BIN_EXE_evaluate");
const COMPARE: &str = env!("CARGO_BIN_EXE_compare");
const MERGE: &str = env!("CARGO_BIN_EXE_merge");

/// The flags of the adapter's training.
const AS_TRAINED: [&str; 3] = ["--quantize", "nf4", "--double_quant"];

fn warnings(done: &Done) -> Vec<&str> {
    done.stderr.lines().filter(|line| line.contains("WARN") && line.contains("adapter `lora`")).collect()
}

#[test]
fn generate_answers_as_the_adapter_was_trained() {
    let scene = scene();
    let generate = |args: &[&str]| {
        let own = ["--lora_weights", "lora", "--temperature", "0", "--max_new_tokens", "12"];
        program(&scene, GENERATE, &[&own[..], &["--instruction", "Repeat sun."], args].concat()).ok()
    };
    let explicit = generate(
        &[&["--base_model", "model", "--prompt_template", "alpaca_short"][..], &AS_TRAINED].concat(),
    );
    let followed = generate(&[]);
    assert_eq!(followed.stdout, explicit.stdout);
    assert!(warnings(&followed).is_empty() && warnings(&explicit).is_empty(), "{}", followed.stderr);
    assert!(followed.stderr.contains("nf4 with double quantisation"), "{}", followed.stderr);

    for (args, part) in [
        (&["--prompt_template", "alpaca"][..], "template `alpaca_short`, and is asked with `alpaca`"),
        (
            &["--quantize", "none"],
            "nf4 with double quantisation, and is used over a base that is not quantised",
        ),
        (&["--double_quant", "false"], "and is used over a base in nf4"),
        (&["--load_8bit"], "and is used over a base in int8"),
    ] {
        let done = generate(args);
        let told = warnings(&done);
        assert!(told.len() == 1 && told[0].contains(part), "{args:?}: {}", done.stderr);
    }
    fs::rename(scene.path("model"), scene.path("other")).unwrap();
    let moved = generate(&["--base_model", "other"]);
    assert_eq!(moved.stdout, followed.stdout);
    assert!(
        warnings(&moved)[0].contains("trained over `model`, and is used over `other`"),
        "{}",
        moved.stderr
    );
}

#[test]
fn evaluate_compare_and_merge_do_the_same() {
    let scene = scene();
    let data = ["--data_path", "data.json", "--max_new_tokens", "4"];
    let evaluate = |args: &[&str]| {
        let args = [&data[..], &["--lora_weights", "lora", "--perplexity"], args].concat();
        program(&scene, EVALUATE, &args).ok()
    };
    let explicit =
        [&["--base_model", "model", "--prompt_template_name", "alpaca_short"][..], &AS_TRAINED].concat();
    let followed = evaluate(&[]);
    assert_eq!(followed.stdout, evaluate(&explicit).stdout);
    assert_ne!(followed.stdout, evaluate(&["--quantize", "none"]).stdout);

    // The same adapter on both sides is the same model, template and all.
    let compare = program(
        &scene,
        COMPARE,
        &[&data[..], &["--reference_lora", "lora", "--lora_weights", "lora"]].concat(),
    );
    let compare = compare.ok();
    assert!(compare.stdout.contains("largest difference of a logit 0.000e0"), "{}", compare.stdout);
    assert!(warnings(&compare).is_empty(), "{}", compare.stderr);

    let merge = |output: &str, args: &[&str]| {
        let own = ["--lora_weights", "lora", "--output_dir", output];
        let done = program(&scene, MERGE, &[&own[..], args].concat()).ok();
        (fs::read(scene.path(output).join("model.safetensors")).unwrap(), warnings(&done).len())
    };
    let nf4 = merge("nf4", &["--base_model", "model", "--base_precision", "nf4", "--double_quant"]);
    assert_eq!(merge("followed", &[]), nf4);
    let original = merge("original", &["--base_model", "model", "--base_precision", "original"]);
    assert!(original.1 == 1 && original.0 != nf4.0);
}

#[test]
fn an_adapter_without_a_run_file_is_used_as_before() {
    let scene = scene();
    fs::remove_file(scene.path("lora/run.toml")).unwrap();
    let ask = |args: &[&str]| {
        let own = [
            "--base_model",
            "model",
            "--lora_weights",
            "lora",
            "--temperature",
            "0",
            "--max_new_tokens",
            "12",
        ];
        program(&scene, GENERATE, &[&own[..], &["--instruction", "Repeat sun."], args].concat()).ok()
    };
    let plain = ask(&[]);
    assert_eq!(plain.stdout, ask(&["--quantize", "none", "--prompt_template", "alpaca"]).stdout);
    assert!(warnings(&plain).is_empty(), "{}", plain.stderr);
    let none = program(&scene, GENERATE, &["--prompt", "a"]);
    none.refused(2, &["base_model is missing: give --base_model MODEL or set BASE_MODEL"]);
}
