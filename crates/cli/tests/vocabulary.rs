//! Tokens that come with an adapter, through the programs: trained, killed, resumed, merged, answered with.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use common::{Scene, adapter, metrics, model_config, run, until, write_model_of};
use llama_model::LlamaConfig;
use serde_json::{Value, json};
use tch::Kind;
use weights::TensorStore;

/// Tokens of the scene's tokenizer.
const TOKENS: i64 = 99;
const ADDED: [&str; 2] = ["<|user|>", "<|bot|>"];

/// Adds two tokens to the `tokenizer.json` in `dir`.
fn add_tokens(dir: &Path) {
    let path = dir.join("tokenizer.json");
    let mut tokenizer: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    for (id, content) in (TOKENS..).zip(ADDED) {
        let token = json!({"id": id, "content": content, "special": false, "single_word": false,
            "lstrip": false, "rstrip": false, "normalized": false});
        tokenizer["added_tokens"].as_array_mut().unwrap().push(token);
    }
    fs::write(path, tokenizer.to_string()).unwrap();
}

/// A base with a row for each token but the added ones, and records that hold those.
fn scene(is_tied: bool) -> Scene {
    let scene = Scene::new();
    let config = LlamaConfig { vocab_size: TOKENS, tie_word_embeddings: is_tied, ..model_config() };
    write_model_of(&scene.path("model"), &config, Kind::Float);
    add_tokens(&scene.path("model"));
    let records: Value = (0..24)
        .map(|index| {
            let word = ["sun", "moon", "river"][index % 3];
            json!({"instruction": format!("<|user|> {word}"), "input": "", "output": format!("<|bot|>{word}<|bot|>")})
        })
        .collect();
    scene.write("data.json", records.to_string());
    scene
}

fn program(scene: &Scene, exe: &str, args: &[&str]) -> Command {
    let mut command = Command::new(exe);
    command.args(args).args(["--threads", "1"]).current_dir(scene.path(""));
    command.env("OMP_NUM_THREADS", "1").env_remove("BASE_MODEL");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The answer to a prompt with an added token, as text and tokens.
fn answer(scene: &Scene, model: &[&str]) -> String {
    let asked = ["--prompt", "<|user|> sun", "--temperature", "0", "--max_new_tokens", "8", "--show_tokens"];
    let args = [model, &asked, &["--dtype", "float32"]].concat();
    run(&mut program(scene, env!("CARGO_BIN_EXE_generate"), &args)).ok().stdout
}

#[test]
fn a_vocabulary_that_grows_goes_through_the_programs() {
    for is_tied in [false, true] {
        let scene = scene(is_tied);
        let flags = ["--resize_vocab", "--modules_to_save", "norm", "--lora_target_modules", "q_proj,v_proj"];
        run(&mut scene.finetune("whole", &flags)).ok();

        // Killed as soon as there is a checkpoint, and resumed.
        let mut child = scene.finetune("killed", &flags).spawn().unwrap();
        until(&mut child, || scene.path("killed/checkpoint-2").exists());
        child.kill().unwrap();
        child.wait().unwrap();
        let latest = [&flags[..], &["--resume_from_checkpoint", "latest"]].concat();
        run(&mut scene.finetune("killed", &latest)).ok();
        assert_eq!(adapter(&scene.path("killed")), adapter(&scene.path("whole")), "tied: {is_tied}");
        assert_eq!(metrics(&scene.path("killed")), metrics(&scene.path("whole")), "tied: {is_tied}");

        let adapted = answer(&scene, &["--base_model", "model", "--lora_weights", "whole"]);
        assert!(adapted.contains("99 \"<|user|>\""), "{adapted}");
        // Both new rows began as the mean of the others.
        let saved = TensorStore::open_file(&scene.path("whole/adapter_model.safetensors")).unwrap();
        let table = saved.tensor("base_model.model.model.embed_tokens.weight").unwrap();
        assert_eq!(table.size(), [TOKENS + 2, 32]);
        assert_ne!(table.get(TOKENS), table.get(TOKENS + 1), "nothing was learnt of them");
        for format in ["hf", "gguf", "state-dict"] {
            let out = format!("merged-{format}");
            let args = [
                "--base_model",
                "model",
                "--lora_weights",
                "whole",
                "--output_dir",
                &out,
                "--verify",
                "--format",
                format,
                "--dtype",
                "float32",
            ];
            run(&mut program(&scene, env!("CARGO_BIN_EXE_merge"), &args[..])).ok();
            assert_eq!(answer(&scene, &["--base_model", &out]), adapted, "tied: {is_tied}, {format}");
        }

        // A further run starts from what the first one learnt.
        let more = [&flags[..], &["--resume_from_checkpoint", "whole", "--num_epochs", "1"]].concat();
        run(&mut scene.finetune("more", &more)).ok();
        run(&mut scene.finetune("plan", &[&flags[..], &["--plan"]].concat())).ok();
    }
}

/// Rows of the plan are those that train.
#[test]
fn a_plan_counts_the_rows_that_are_added() {
    for (is_tied, tables) in [(false, 2), (true, 1)] {
        let scene = scene(is_tied);
        let count = |flags: &[&str]| -> u64 {
            let flags = [flags, &["--plan", "--lora_target_modules", "q_proj"]].concat();
            let plan = run(&mut scene.finetune("plan", &flags)).ok().stdout;
            let line = plan.lines().find(|line| line.starts_with("trainable parameters")).unwrap();
            let digits = line.split('(').next().unwrap().chars().filter(char::is_ascii_digit);
            digits.collect::<String>().parse().unwrap()
        };
        let rows = (TOKENS as u64 + ADDED.len() as u64) * 32;
        assert_eq!(count(&["--resize_vocab"]), count(&[]) + tables * rows, "tied: {is_tied}");
    }
}

/// Programs over peft save the tokenizer that they added tokens to beside the adapter.
#[test]
fn a_tokenizer_beside_an_adapter_is_used_and_merged_where_it_is_another() {
    let scene = scene(false);
    let flags = ["--resize_vocab", "--lora_target_modules", "q_proj"];
    run(&mut scene.finetune("out", &flags)).ok();
    let expected = answer(&scene, &["--base_model", "model", "--lora_weights", "out"]);
    fs::copy(scene.path("model/tokenizer.json"), scene.path("out/tokenizer.json")).unwrap();
    let same = ["--base_model", "model", "--lora_weights", "out", "--prompt", "a", "--max_new_tokens", "1"];
    let told = run(&mut program(&scene, env!("CARGO_BIN_EXE_generate"), &same)).ok().stderr;
    assert!(!told.contains("tokenizer beside"), "{told}");

    // The base as it was before tokens were added.
    let config = LlamaConfig { vocab_size: TOKENS, ..model_config() };
    write_model_of(&scene.path("model"), &config, Kind::Float);
    let told = run(&mut program(&scene, env!("CARGO_BIN_EXE_generate"), &same)).ok().stderr;
    assert!(told.contains("the tokenizer beside adapter `out` is used"), "{told}");
    assert_eq!(answer(&scene, &["--base_model", "model", "--lora_weights", "out"]), expected);
    for format in ["hf", "gguf"] {
        let args = [
            "--base_model",
            "model",
            "--lora_weights",
            "out",
            "--output_dir",
            format,
            "--verify",
            "--format",
            format,
            "--dtype",
            "float32",
        ];
        run(&mut program(&scene, env!("CARGO_BIN_EXE_merge"), &args)).ok();
        assert_eq!(answer(&scene, &["--base_model", format]), expected, "{format}");
    }
    fs::write(scene.path("out/tokenizer.json"), "version https://git-lfs.github.com/spec/v1\n").unwrap();
    run(&mut program(&scene, env!("CARGO_BIN_EXE_generate"), &same))
        .refused(1, &["tokenizer.json", "Git LFS pointer"]);
}
