//! `finetune` from the command line to the files it writes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs;

use common::{Scene, adapter, metrics, names, run, workspace};
use nn_core::Dtype;
use tch::Device;
use weights::TensorStore;

/// The flags of alpaca-lora's `finetune.py`.
const ALPACA_LORA: [&str; 23] = [
    "base_model",
    "data_path",
    "output_dir",
    "batch_size",
    "micro_batch_size",
    "num_epochs",
    "learning_rate",
    "cutoff_len",
    "val_set_size",
    "lora_r",
    "lora_alpha",
    "lora_dropout",
    "lora_target_modules",
    "train_on_inputs",
    "add_eos_token",
    "group_by_length",
    "resume_from_checkpoint",
    "prompt_template_name",
    "warmup_steps",
    "logging_steps",
    "eval_steps",
    "save_steps",
    "save_total_limit",
];

#[test]
fn help_lists_every_flag_of_alpaca_lora_with_its_default() {
    let scene = Scene::new();
    let help = run(&mut scene.bare(&["--help"])).ok().stdout;
    for flag in ALPACA_LORA {
        assert!(help.contains(&format!("--{flag} ")), "{flag}\n{help}");
    }
    let one_line = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for default in ["./lora-alpaca", "128", "3e-4", "256", "2000", "q_proj,v_proj", "0.05"] {
        assert!(one_line.contains(&format!("[default: {default}]")), "{default}\n{help}");
    }
}

#[test]
fn alpaca_loras_command_line_writes_a_peft_adapter() {
    let scene = Scene::new();
    let data = workspace().join("datasets/mini_data.json");
    let line = ["--base_model", "model", "--data_path", data.to_str().unwrap(), "--output_dir", "adapter"];
    let sizes = ["--batch_size", "2", "--micro_batch_size", "1", "--val_set_size", "2"];
    let done = run(&mut scene.bare(&[&line[..], &sizes].concat())).ok();
    assert_eq!(done.stdout, "adapter\n");
    assert!(
        done.stderr.contains("read back: 8 tensors, 2,048 parameters, no lora_B is zero"),
        "{}",
        done.stderr
    );
    assert!(!done.stderr.contains('\u{1b}'), "colours belong on a terminal: {}", done.stderr);
    let mut lines: Vec<&str> = done.stderr.lines().collect();
    let count = lines.len();
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines.len(), count, "a line is told twice:\n{}", done.stderr);

    let dir = scene.path("adapter");
    let expected = [
        "adapter_config.json",
        "adapter_model.safetensors",
        "checkpoint-93",
        "inputs.json",
        "loss.svg",
        "metrics.jsonl",
        "run.html",
        "run.toml",
        "runs",
        "summary.json",
    ];
    assert_eq!(names(&dir), expected);
    let config: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(dir.join("adapter_config.json")).unwrap()).unwrap();
    assert_eq!(config["peft_type"], "LORA");
    assert_eq!((&config["r"], &config["lora_alpha"]), (&8.into(), &16.into()));
    assert_eq!(config["target_modules"], serde_json::json!(["q_proj", "v_proj"]));
    let store = TensorStore::open_file(&dir.join("adapter_model.safetensors")).unwrap();
    let name = "base_model.model.model.layers.1.self_attn.v_proj.lora_B.weight";
    assert_eq!(store.info(name).unwrap().shape, [32, 8]);
}

#[test]
fn both_spellings_of_flags_and_targets_give_the_same_adapter() {
    let scene = Scene::new();
    run(&mut scene.finetune("one", &["--max_steps", "4", "--lora_target_modules", "[q_proj,v_proj]"])).ok();
    let dashes = [
        ["--base-model", "model"],
        ["--data-path", "data.json"],
        ["--output-dir", "two"],
        ["--batch-size", "4"],
        ["--micro-batch-size", "2"],
        ["--num-epochs", "4"],
        ["--val-set-size", "4"],
        ["--cutoff-len", "96"],
        ["--prompt-template-name", "alpaca_short"],
        ["--learning-rate", "0.01"],
        ["--lora-dropout", "0.05"],
        ["--warmup-steps", "2"],
        ["--logging-steps", "1"],
        ["--eval-steps", "3"],
        ["--save-steps", "2"],
        ["--max-steps", "4"],
        ["--threads", "1"],
        ["--lora-target-modules", "['q_proj', 'v_proj']"],
    ];
    run(&mut scene.bare(dashes.as_flattened())).ok();
    assert_eq!(adapter(&scene.path("one")), adapter(&scene.path("two")));
    assert_eq!(metrics(&scene.path("one")), metrics(&scene.path("two")));
}

#[test]
fn the_run_file_beside_an_adapter_repeats_its_run() {
    let scene = Scene::new();
    let args = [
        "--max_steps",
        "5",
        "--lora_target_modules",
        "all-linear",
        "--lr_scheduler",
        "cosine",
        "--seed",
        "7",
    ];
    run(&mut scene.finetune("one", &args)).ok();
    run(&mut scene.bare(&["--config", "one/run.toml", "--output_dir", "two"])).ok();
    assert_eq!(adapter(&scene.path("one")), adapter(&scene.path("two")));
    assert_eq!(metrics(&scene.path("one")), metrics(&scene.path("two")));
    run(&mut scene.bare(&["--config", "one/run.toml", "--output_dir", "three", "--seed", "8"])).ok();
    assert_ne!(adapter(&scene.path("one")), adapter(&scene.path("three")), "a flag beats the file");
}

#[test]
fn wandb_flags_are_accepted_with_one_note() {
    let scene = Scene::new();
    let wandb = [
        "--wandb_project",
        "p",
        "--wandb_run_name",
        "n",
        "--wandb_watch",
        "all",
        "--wandb_log_model",
        "true",
    ];
    let done = run(&mut scene.finetune("out", &[&wandb[..], &["--max_steps", "2"]].concat())).ok();
    let lines: Vec<&str> = done.stderr.lines().filter(|line| line.contains("wandb")).collect();
    assert_eq!(lines.len(), 1, "{}", done.stderr);
    assert!(lines[0].contains("metrics.jsonl") && lines[0].contains("TensorBoard"), "{}", lines[0]);
}

#[test]
fn paging_on_a_cpu_is_noted_once() {
    for (optim, times) in [("paged_adamw_32bit", 1), ("paged_adamw_8bit", 1), ("adamw_8bit", 0)] {
        let scene = Scene::new();
        let done = run(&mut scene.finetune("out", &["--optim", optim])).ok();
        assert_eq!(
            done.stderr.matches("nothing is paged on a CPU").count(),
            times,
            "{optim}: {}",
            done.stderr
        );
    }
}

#[test]
fn plan_reads_config_json_alone_and_writes_nothing() {
    let scene = Scene::new();
    for file in ["model.safetensors", "tokenizer.json"] {
        fs::remove_file(scene.path("model").join(file)).unwrap();
    }
    fs::remove_file(scene.path("data.json")).unwrap();
    let done = run(&mut scene.finetune("out", &["--plan", "--dtype", "float32"])).ok();
    let rows: Vec<(&str, &str)> = done.stdout.lines().filter_map(|line| line.split_once("  ")).collect();
    let row = |name: &str| rows.iter().find(|(key, _)| *key == name).map(|(_, value)| value.trim()).unwrap();
    // 2 · 104 · 32 embedding and head, 2 layers of 4 · 32² + 3 · 32 · 64 + 2 · 32, a norm of 32.
    assert_eq!(row("parameters"), "27,296");
    assert_eq!(row("trainable parameters"), "2,048 (7.5029 %)");
    assert_eq!(row("device, dtype"), "cpu, float32");
    assert!(row("fits").starts_with("yes"), "{}", done.stdout);
    for part in ["weights", "adapter", "gradients", "optimiser", "activations", "logits", "total"] {
        assert!(
            done.stdout.lines().any(|line| line.starts_with(&format!("  {part}"))),
            "{part}\n{}",
            done.stdout
        );
    }
    assert_eq!(done.stderr, "");
    assert_eq!(names(&scene.path(".")), ["model"]);
}

#[test]
fn full_training_changes_every_tensor_and_writes_a_model() {
    let scene = Scene::new();
    run(&mut scene.finetune("tuned", &["--full", "--max_steps", "6", "--learning_rate", "1e-3"])).ok();
    let open = |name: &str| TensorStore::open(&scene.path(name)).unwrap();
    let (base, tuned) = (open("model"), open("tuned"));
    assert!(base.names().eq(tuned.names()));
    for name in base.names() {
        let difference = (base.tensor(name).unwrap() - tuned.tensor(name).unwrap()).abs().max();
        assert!(difference.double_value(&[]) > 0.0, "{name} was not trained");
    }
    let opened = checkpoint::Base::open(scene.path("tuned").to_str().unwrap()).unwrap();
    assert_eq!(opened.config.num_parameters(), common::model_config().num_parameters());
    opened.tokenizer().unwrap();
    opened.load(Device::Cpu, Dtype::Float32).unwrap();
    // What was written is a base like any other.
    run(&mut scene.finetune("again", &["--base_model", "tuned", "--max_steps", "3"])).ok();
}

#[test]
fn a_saved_adapter_is_the_start_of_a_new_run() {
    let scene = Scene::new();
    run(&mut scene.finetune("one", &[])).ok();
    let args = ["--resume_from_checkpoint", "one", "--max_steps", "3"];
    let done = run(&mut scene.finetune("two", &args)).ok();
    assert!(done.stderr.contains("they are the start of a new run"), "{}", done.stderr);
    let first = |dir: &str| metrics(&scene.path(dir))[0]["loss"].as_f64().unwrap();
    assert!(first("two") < first("one") - 0.1, "{} {}", first("two"), first("one"));
}
