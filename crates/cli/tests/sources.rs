//! One model, whatever it is written as: Hugging Face's layout, Meta's, a GGUF file.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use checkpoint::Base;
use common::{Scene, run, shared_data, workspace};
use infer::{GenerateConfig, greedy};
use llama_model::preset;
use nn_core::Dtype;
use tch::Device;

const PROMPTS: [&str; 3] = ["Once upon a time", "Lily and Ben went to the park. They saw a big", "The"];

/// Greedy continuations of the prompts, as ids and as text.
fn continuations(base: &Base) -> Vec<(Vec<i64>, String)> {
    let (tokenizer, model) = (base.tokenizer().unwrap(), base.load(Device::Cpu, Dtype::Float32).unwrap());
    let config =
        GenerateConfig { max_new_tokens: 48, eos_ids: base.eos_ids(&tokenizer), ..GenerateConfig::default() };
    let prompts: Vec<Vec<i64>> = PROMPTS.iter().map(|text| tokenizer.encode(text, true).unwrap()).collect();
    let ids = greedy(&model, &prompts, &config).unwrap();
    ids.into_iter().map(|ids| (ids.clone(), tokenizer.decode(&ids, true).unwrap())).collect()
}

fn open(path: &Path) -> Base {
    Base::open(path.to_str().unwrap()).unwrap()
}

#[test]
fn meta_and_hugging_face_weights_generate_the_same_text() {
    let Some(shared) = shared_data("meta_and_hugging_face_weights_generate_the_same_text") else { return };
    let [hf, meta] = ["hf", "meta"].map(|kind| open(&shared.join(format!("models/stories260K-{kind}"))));
    let expected = continuations(&hf);
    assert!(expected.iter().all(|(ids, _)| ids.len() > 20));
    assert_eq!(continuations(&meta), expected);
    assert_eq!((meta.config.hidden_size, meta.config.intermediate_size), (64, 172));
}

#[test]
fn a_tokenizer_in_the_parent_of_meta_shards_is_found() {
    let Some(shared) = shared_data("a_tokenizer_in_the_parent_of_meta_shards_is_found") else { return };
    let dir = tempfile::tempdir().unwrap();
    let from = shared.join("models/stories260K-meta");
    fs::create_dir(dir.path().join("7B")).unwrap();
    for (name, to) in [("consolidated.00.pth", "7B"), ("params.json", "7B"), ("tokenizer.model", ".")] {
        fs::copy(from.join(name), dir.path().join(to).join(name)).unwrap();
    }
    open(&dir.path().join("7B")).tokenizer().unwrap();
}

#[test]
fn full_fine_tuning_of_meta_weights_writes_hugging_face_files() {
    let Some(shared) = shared_data("full_fine_tuning_of_meta_weights_writes_hugging_face_files") else {
        return;
    };
    let scene = Scene::new();
    let meta = shared.join("models/stories260K-meta");
    let args = [
        "--base_model",
        meta.to_str().unwrap(),
        "--full",
        "true",
        "--max_steps",
        "1",
        "--learning_rate",
        "1e-30",
    ];
    let args =
        [args.as_slice(), &["--num_epochs", "1", "--warmup_steps", "0", "--weight_decay", "0"]].concat();
    run(&mut scene.finetune("out", &args)).ok();
    let written = open(&scene.path("out"));
    assert_eq!((written.config.bos_token_id, written.config.eos_ids()), (Some(1), [2].as_slice()));
    // So small a learning rate leaves the weights as they are.
    assert_eq!(continuations(&written), continuations(&open(&meta)));
}

/// A two-layer GGUF model of the repository; of them only `tied_linear` has a tokenizer.
fn gguf(name: &str) -> PathBuf {
    workspace().join(format!("crates/checkpoint/tests/goldens/gguf/{name}.gguf"))
}

#[test]
fn a_gguf_base_is_fine_tuned_and_evaluated() {
    let scene = Scene::new();
    let path = gguf("tied_linear");
    let base = path.to_str().unwrap();
    assert!(open(&path).chat_template().unwrap().unwrap().contains("messages"));
    run(&mut scene.finetune("out", &["--base_model", base, "--max_steps", "2"])).ok();
    let config = fs::read_to_string(scene.path("out/adapter_config.json")).unwrap();
    assert!(config.contains(base) && fs::read_to_string(scene.path("out/run.toml")).unwrap().contains(base));
    let mut evaluate = std::process::Command::new(env!("CARGO_BIN_EXE_evaluate"));
    evaluate.current_dir(scene.path(".")).env("OMP_NUM_THREADS", "1");
    evaluate.args([
        "--base_model",
        base,
        "--lora_weights",
        "out",
        "--data_path",
        "data.json",
        "--device",
        "cpu",
    ]);
    let done = run(evaluate.args(["--max_new_tokens", "4", "--threads", "1"])).ok();
    assert!(done.stdout.contains("exact match"), "{}", done.stdout);
}

#[test]
fn full_fine_tuning_of_a_gguf_file_writes_hugging_face_files() {
    let scene = Scene::new();
    // Too small a step to change a weight in float32.
    let (path, args) =
        (gguf("tied_linear"), ["--full", "true", "--max_steps", "1", "--learning_rate", "1e-30"]);
    let args = [args.as_slice(), &["--warmup_steps", "0", "--base_model", path.to_str().unwrap()]].concat();
    run(&mut scene.finetune("out", &args)).ok();
    let (written, read) = (open(&scene.path("out")), open(&path));
    assert_eq!(continuations(&written), continuations(&read));
    assert_eq!(written.chat_template().unwrap(), read.chat_template().unwrap());
    let [of_written, of_read] = [&written, &read].map(|base| base.tokenizer().unwrap());
    for text in ["the moon, the stone", "<s>the</s>"] {
        assert_eq!(of_written.encode(text, true).unwrap(), of_read.encode(text, true).unwrap());
    }
    assert_eq!((of_written.bos_id(), of_written.eos_id(), of_written.pad_id()), (1, 2, of_read.pad_id()));
}

#[test]
fn a_gguf_base_is_planned_and_missing_parts_are_named() {
    let scene = Scene::new();
    let path = gguf("llama3");
    let planned =
        run(&mut scene.bare(&["--plan", "--device", "cpu", "--base_model", path.to_str().unwrap()])).ok();
    assert!(
        planned.stdout.contains("parameters") && !planned.stdout.contains("mapped"),
        "{}",
        planned.stdout
    );
    run(&mut scene.finetune("out", &["--base_model", path.to_str().unwrap()]))
        .refused(1, &["llama3.gguf", "no tokenizer", "tokenizer.ggml.model"]);
    assert!(!scene.path("out").exists());
}

#[test]
fn a_directory_with_one_gguf_file_opens_that_file() {
    let scene = Scene::new();
    fs::create_dir(scene.path("merged")).unwrap();
    fs::copy(gguf("tied_linear"), scene.path("merged/model.gguf")).unwrap();
    assert_eq!(open(&scene.path("merged")).dir, scene.path("merged/model.gguf"));
}

#[test]
fn damaged_models_are_rejected_by_name() {
    let scene = Scene::new();
    let bytes = fs::read(gguf("llama3")).unwrap();
    scene.write("cut.gguf", &bytes[..bytes.len() / 2]);
    scene.write("text.gguf", "not weights");
    fs::create_dir(scene.path("meta")).unwrap();
    scene.write("meta/params.json", "{}");
    fs::create_dir(scene.path("empty")).unwrap();
    fs::create_dir(scene.path("two")).unwrap();
    scene.write("two/a.gguf", "");
    scene.write("two/b.gguf", "");
    for (base, code, parts) in [
        ("cut.gguf", 1, ["cut.gguf", "truncated"]),
        ("text.gguf", 2, ["text.gguf", "not a GGUF file"]),
        ("meta", 1, ["params.json", "missing field `dim`"]),
        ("empty", 1, ["empty", "config.json"]),
        ("two", 2, ["`two` holds 2 GGUF files", "has to name one"]),
    ] {
        run(&mut scene.finetune("out", &["--base_model", base])).refused(code, &parts);
        assert!(!scene.path("out").exists(), "{base}");
    }
}

#[test]
fn random_weights_of_a_published_shape_open_as_a_model() {
    let scene = Scene::new();
    let dir = scene.path("random");
    let mut pretrain = Command::new(env!("CARGO_BIN_EXE_pretrain"));
    pretrain.args(["--init_only", "--preset", "tiny", "--dtype", "bfloat16", "--device", "cpu"]);
    pretrain.arg("--output_dir").arg(&dir).env("OMP_NUM_THREADS", "1");
    let output = pretrain.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let model = open(&dir).load(Device::Cpu, Dtype::BFloat16).unwrap();
    assert_eq!(model.config().num_parameters(), preset("tiny").unwrap().num_parameters());
    // What is there is not written over.
    assert!(!pretrain.output().unwrap().status.success());
}
