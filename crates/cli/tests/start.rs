//! A run that starts from weights made elsewhere, or with other settings, says what changes; one that would learn nothing does
//! not start.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs;

use common::{Scene, adapter, run};

/// Counters as transformers' Trainer writes them.
const PYTHON_STATE: &str =
    r#"{"epoch": 1.0, "global_step": 2, "log_history": [{"loss": 2.3, "step": 2}], "max_steps": 6}"#;

/// A scene with a trained adapter in `lora`.
fn scene() -> Scene {
    let scene = Scene::new();
    run(&mut scene.finetune("lora", &["--max_steps", "2"])).ok();
    scene
}

/// Puts the adapter of `lora` into a checkpoint of Python's.
fn python_checkpoint(scene: &Scene, name: &str) {
    fs::create_dir_all(scene.path(name)).unwrap();
    for file in ["adapter_config.json", "adapter_model.safetensors"] {
        fs::copy(scene.path("lora").join(file), scene.path(name).join(file)).unwrap();
    }
    scene.write(&format!("{name}/trainer_state.json"), PYTHON_STATE);
    scene.write(&format!("{name}/optimizer.pt"), "");
}

#[test]
fn a_checkpoint_of_transformers_trainer_starts_a_new_run_from_its_adapter() {
    let scene = scene();
    python_checkpoint(&scene, "python/checkpoint-2");
    let start = |out: &str, from: &str| {
        run(&mut scene.finetune(out, &["--max_steps", "3", "--resume_from_checkpoint", from]))
    };
    start("of-adapter", "lora").ok();
    for (out, from) in [("of-checkpoint", "python/checkpoint-2"), ("of-folder", "python")] {
        let done = start(out, from).ok();
        assert!(done.stderr.contains("transformers' Trainer"), "{}", done.stderr);
        assert_eq!(adapter(&scene.path(out)), adapter(&scene.path("of-adapter")));
    }
    start("python", "latest").refused(2, &["transformers' Trainer", "python/checkpoint-2"]);
    fs::remove_file(scene.path("python/checkpoint-2/adapter_config.json")).unwrap();
    start("none", "python/checkpoint-2").refused(2, &["transformers' Trainer", "no adapter_config.json"]);
}

#[test]
fn what_a_start_from_an_adapter_changes_is_told() {
    let scene = scene();
    let start = |out: &str, args: &[&str]| {
        let own = ["--max_steps", "2", "--resume_from_checkpoint", "lora"];
        run(&mut scene.finetune(out, &[&own[..], args].concat()))
    };
    let same = start("same", &[]).ok();
    assert!(!same.stderr.contains("adapter `lora`"), "{}", same.stderr);
    let other = start("alpha", &["--lora_alpha", "64"]).ok();
    assert!(
        other.stderr.contains("lora_alpha 16, a scale of 2") && other.stderr.contains("multiplied by 4 ")
    );
    let other = start("template", &["--prompt_template_name", "alpaca"]).ok();
    assert!(other.stderr.contains("trained with the prompt template `alpaca_short`"), "{}", other.stderr);
    let other = start("quantised", &["--quantize", "nf4"]).ok();
    assert!(other.stderr.contains("used over a base in nf4"), "{}", other.stderr);
    start("rank", &["--lora_r", "4"]).refused(2, &["adapter `lora` has `r` 8, and this run 4"]);
    start("variant", &["--lora_variant", "dora"]).refused(2, &["`lora_variant` lora, and this run dora"]);
    start("targets", &["--lora_target_modules", "q_proj"]).refused(2, &["cannot load adapter `lora`"]);
}

#[test]
fn true_resumes_as_in_transformers() {
    let scene = scene();
    let resume = |from: &str| {
        run(&mut scene.finetune("lora", &["--max_steps", "2", "--resume_from_checkpoint", from]))
    };
    let before = adapter(&scene.path("lora"));
    resume("True").ok();
    assert_eq!(adapter(&scene.path("lora")), before);
    let anew =
        run(&mut scene.finetune("anew", &["--max_steps", "2", "--resume_from_checkpoint", "True"])).ok();
    assert!(anew.stderr.contains("no checkpoint in `anew` yet"), "{}", anew.stderr);
    resume("False").refused(2, &["holds another run"]);
}

#[test]
fn a_run_that_would_learn_nothing_does_not_start() {
    let scene = Scene::new();
    for args in [&["--max_steps", "1"][..], &["--learning_rate", "0"]] {
        let done =
            run(&mut scene.finetune("out", args)).refused(2, &["nothing would be learnt", "warmup_steps 2"]);
        assert!(!scene.path("out").exists(), "{}", done.stderr);
    }
    let short = run(&mut scene.finetune("out", &["--max_steps", "2"])).ok();
    assert!(short.stderr.contains("the learning rate never reaches 0.01"), "{}", short.stderr);
}

#[test]
fn a_cutoff_beyond_the_context_is_told() {
    let scene = Scene::new();
    let done = run(&mut scene.finetune("out", &["--max_steps", "2", "--cutoff_len", "300"])).ok();
    assert!(done.stderr.contains("cutoff_len 300 is beyond the model's context of 256"), "{}", done.stderr);
}

#[test]
fn flags_of_weights_and_biases_are_answered() {
    let scene = Scene::new();
    let args = ["--max_steps", "2", "--wandb_project", "mine", "--wandb_watch", ""];
    let done = run(&mut scene.finetune("out", &args)).ok();
    let told = done.stderr.lines().find(|line| line.contains("Weights & Biases")).unwrap_or_default();
    assert!(told.contains("wandb_project: ") && !told.contains("wandb_watch"), "{}", done.stderr);
}
