//! A weight of the base that is no number is named, by every program, and none of them ends as if nothing were wrong.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs;
use std::process::{Command, Stdio};

use common::{Scene, run};
use tch::Tensor;
use weights::{TensorStore, pt_metadata, write_safetensors};

const FAILED: i32 = 1;
const WEIGHT: &str = "model.layers.1.mlp.down_proj.weight";

/// A scene whose `model` has one NaN in [`WEIGHT`]; `whole` is what it was before.
fn broken() -> Scene {
    let scene = Scene::new();
    let (whole, model) = (scene.path("whole"), scene.path("model"));
    fs::create_dir(&whole).unwrap();
    for entry in fs::read_dir(&model).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), whole.join(entry.file_name())).unwrap();
    }
    let path = model.join("model.safetensors");
    let store = TensorStore::open_file(&path).unwrap();
    let tensors: Vec<(String, Tensor)> =
        store.names().map(|name| (name.to_owned(), store.tensor(name).unwrap().copy())).collect();
    drop(store);
    for (_, tensor) in tensors.iter().filter(|(name, _)| name == WEIGHT) {
        let _ = tensor.get(3).get(5).fill_(f64::NAN);
    }
    let named: Vec<(String, &Tensor)> = tensors.iter().map(|(name, tensor)| (name.clone(), tensor)).collect();
    write_safetensors(&path, &named, &pt_metadata()).unwrap();
    scene
}

fn program(scene: &Scene, path: &str, args: &[&str]) -> Command {
    let mut command = Command::new(path);
    command.args(args).args(["--threads", "1", "--device", "cpu"]).current_dir(scene.path("."));
    command.env("OMP_NUM_THREADS", "1").env_remove("RUST_LOG");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn fine_tuning_over_a_broken_base_names_its_weight_and_not_the_records() {
    let scene = broken();
    let done = run(&mut scene.finetune("out", &[])).refused(FAILED, &[WEIGHT, "as they were loaded"]);
    assert!(!done.stderr.contains("all parameters are finite"), "{}", done.stderr);
    run(&mut scene.finetune("full", &["--full"])).refused(FAILED, &[WEIGHT, "as they were loaded"]);
    run(&mut scene.finetune("nf4", &["--quantize", "nf4"])).refused(FAILED, &[WEIGHT]);
}

#[test]
fn answers_scores_and_comparisons_of_a_broken_base_fail_with_its_weight() {
    let scene = broken();
    scene.write("text", "A page of text.");
    let [generate, evaluate, compare] =
        [env!("CARGO_BIN_EXE_generate"), env!("CARGO_BIN_EXE_evaluate"), env!("CARGO_BIN_EXE_compare")];
    let base = ["--base_model", "model"];
    let data = ["--data_path", "data.json", "--max_new_tokens", "4"];
    for (path, args) in [
        (generate, [&base[..], &["--prompt", "Once"]].concat()),
        (generate, [&base[..], &["--prompt", "Once", "--temperature", "0.7", "--num_beams", "1"]].concat()),
        (generate, [&base[..], &["--prompt", "Once", "--num_beams", "3"]].concat()),
        (generate, [&base[..], &["--perplexity", "text"]].concat()),
        (generate, [&base[..], &["--perplexity", "data.json"]].concat()),
        (evaluate, [&base[..], &data].concat()),
        (compare, [&base[..], &["--reference_model", "whole"], &data].concat()),
        (compare, [&["--base_model", "whole", "--reference_model", "model"][..], &data].concat()),
    ] {
        let done = run(&mut program(&scene, path, &args)).refused(FAILED, &[WEIGHT, "NaN or infinity"]);
        assert_eq!(done.stdout, "", "{args:?}");
    }
}
