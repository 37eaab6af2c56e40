//! Merges that cannot be are rejected in one line, and leave nothing behind.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tch::{Kind, Tensor};
use weights::{TensorStore, pt_metadata, write_safetensors};

use crate::common::{Scene, names, run};
use crate::scene::{ALL, R, merge, scene, shapes, write_adapter};

const WRONG_USE: i32 = 2;
const FAILED: i32 = 1;

/// Runs `merge`, which has to fail and to leave everything as it was.
fn refused(scene: &Scene, args: &[&str], code: i32, parts: &[&str]) {
    let before = names(&scene.path("."));
    for format in ["hf", "state-dict", "gguf"] {
        let own = ["--base_model", "model", "--output_dir", "out", "--format", format];
        let own: Vec<&str> =
            own.chunks(2).filter(|pair| !args.contains(&pair[0])).flat_map(<[&str]>::iter).copied().collect();
        let done = run(&mut merge(scene, &[&own, args].concat())).refused(code, parts);
        assert_eq!(names(&scene.path(".")), before, "something was left behind: {args:?}");
        assert_eq!(done.stdout, "");
    }
}

/// A scene with a model and a good adapter.
fn adapted_scene() -> Scene {
    let (_, config) = shapes().remove(1);
    let scene = scene(&config, Kind::Float);
    write_adapter(&scene.path("adapter"), &config, &ALL, R, 0);
    scene
}

const ADAPTER: [&str; 2] = ["--lora_weights", "adapter"];

/// Changes the tensors of a file.
fn edit_tensors(path: &Path, edit: impl Fn(&str, &Tensor) -> Option<Tensor>) {
    let store = TensorStore::open_file(path).unwrap();
    let tensors: Vec<(String, Tensor)> = store
        .names()
        .filter_map(|name| Some((name.to_owned(), edit(name, &store.tensor(name).unwrap())?)))
        .collect();
    let named: Vec<(String, &Tensor)> = tensors.iter().map(|(name, tensor)| (name.clone(), tensor)).collect();
    write_safetensors(path, &named, &pt_metadata()).unwrap();
}

fn edit_json(path: &Path, edit: impl Fn(&mut Value)) {
    let mut json: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    edit(&mut json);
    fs::write(path, json.to_string()).unwrap();
}

#[test]
fn wrong_flags_are_exit_code_2() {
    let scene = adapted_scene();
    refused(&scene, &["--base_model", "nowhere"], WRONG_USE, &["base_model `nowhere` is not a directory"]);
    refused(&scene, &["--lora_weights", "nowhere"], WRONG_USE, &["adapter `nowhere` is not a directory"]);
    refused(&scene, &["--base-precision", "nf4"], WRONG_USE, &["what an adapter was trained over"]);
    refused(&scene, &["--quantize", "int4"], WRONG_USE, &["quantize is `int4`"]);
    refused(&scene, &["--double-quant"], WRONG_USE, &["double_quant needs --base_precision nf4"]);
    for format in ["state-dict", "gguf"] {
        let args = ["--quantize", "nf4", "--format", format];
        refused(&scene, &args, WRONG_USE, &["quantize is for --format hf"]);
    }
    refused(&scene, &["--max-shard-size", "big"], WRONG_USE, &["max_shard_size is `big`"]);
    refused(&scene, &["--output_dir", "model"], WRONG_USE, &["output_dir `model` is not empty"]);
    refused(&scene, &["--output_dir", "model", "--overwrite_output_dir"], WRONG_USE, &["is base_model"]);
    refused(&scene, &["--output_dir", "data.json"], WRONG_USE, &["output_dir `data.json` is a file"]);
    run(&mut merge(&scene, &["--output_dir", "new"])).refused(WRONG_USE, &["base_model is missing"]);
}

#[test]
fn base_and_adapter_of_different_shapes_are_refused_with_both() {
    let scene = adapted_scene();
    let (_, other) = shapes().remove(0);
    write_adapter(&scene.path("adapter"), &other, &ALL, R, 0);
    let parts =
        ["adapter `adapter` does not fit base `model`", "k_proj.lora_B.weight` has shape [32, 4]", "[16, 4]"];
    refused(&scene, &ADAPTER, FAILED, &parts);
}

#[test]
fn an_adapter_for_more_layers_or_another_architecture_is_refused_by_name() {
    let scene = adapted_scene();
    let (_, config) = shapes().remove(1);
    let deeper = llama_model::LlamaConfig { num_hidden_layers: 3, ..config };
    write_adapter(&scene.path("adapter"), &deeper, &ALL, R, 0);
    refused(&scene, &ADAPTER, FAILED, &["14 tensors that no layer of this model takes", "layers.2"]);
    edit_json(&scene.path("adapter/adapter_config.json"), |json| json["target_modules"] = "c_attn".into());
    refused(&scene, &ADAPTER, FAILED, &["`c_attn` matches no linear layer", "q_proj"]);
    edit_json(&scene.path("adapter/adapter_config.json"), |json| json["peft_type"] = "IA3".into());
    refused(&scene, &ADAPTER, FAILED, &["`peft_type` is IA3"]);
    edit_json(&scene.path("model/config.json"), |json| json["model_type"] = "gpt2".into());
    refused(&scene, &ADAPTER, FAILED, &["`model_type` is gpt2"]);
}

#[test]
fn an_adapter_without_effect_or_without_tensors_is_refused() {
    let scene = adapted_scene();
    let path = scene.path("adapter/adapter_model.safetensors");
    let whole = fs::read(&path).unwrap();
    edit_tensors(&path, |name, tensor| {
        Some(if name.contains("1.mlp.up_proj.lora_B") { tensor.zeros_like() } else { tensor.copy() })
    });
    refused(&scene, &ADAPTER, FAILED, &["1 of 14 lora_B tensors", "all zero", "layers.1.mlp.up_proj.lora_B"]);
    fs::write(&path, &whole).unwrap();
    edit_tensors(&path, |name, tensor| (!name.contains("0.self_attn.o_proj")).then(|| tensor.copy()));
    refused(&scene, &ADAPTER, FAILED, &["lacks 2 of the adapter's 28 tensors", "o_proj.lora_A"]);
    fs::write(&path, &whole).unwrap();
    // What the lab's own users had: 443 bytes without a tensor.
    edit_tensors(&path, |_, _| None);
    refused(&scene, &ADAPTER, FAILED, &["lacks 28 of the adapter's 28 tensors"]);
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    refused(&scene, &ADAPTER, FAILED, &["adapter_model.safetensors` is truncated"]);
    fs::remove_file(&path).unwrap();
    refused(&scene, &ADAPTER, FAILED, &["adapter_model.safetensors"]);
}

#[test]
fn nan_anywhere_is_refused_by_name() {
    let scene = adapted_scene();
    let (model, adapter) =
        (scene.path("model/model.safetensors"), scene.path("adapter/adapter_model.safetensors"));
    let whole = [&model, &adapter].map(|path| fs::read(path).unwrap());
    let poison = |at: &'static str| {
        move |name: &str, tensor: &Tensor| {
            let tensor = tensor.copy();
            if name.contains(at) {
                let _ = tensor.view([-1]).get(-1).fill_(f64::NAN);
            }
            Some(tensor)
        }
    };
    edit_tensors(&adapter, poison("layers.1.self_attn.v_proj.lora_A"));
    refused(&scene, &ADAPTER, FAILED, &["layers.1.self_attn.v_proj.lora_A.weight` in", "NaN"]);
    fs::write(&adapter, &whole[1]).unwrap();
    for name in ["model.norm", "model.layers.1.mlp.down_proj", "model.embed_tokens"] {
        edit_tensors(&model, poison(name));
        refused(&scene, &ADAPTER, FAILED, &[&format!("`{name}.weight` holds NaN or infinity in the base")]);
        fs::write(&model, &whole[0]).unwrap();
    }
}

#[test]
fn an_adapter_too_small_for_the_precision_is_refused() {
    let scene = adapted_scene();
    let args = [&ADAPTER as &[&str], &["--scale", "1e-13", "--dtype", "float16"]].concat();
    refused(
        &scene,
        &args,
        FAILED,
        &["14 of 14 targets are unchanged after rounding to float16", "does nothing"],
    );
}

#[test]
fn missing_and_damaged_shards_are_refused_by_name() {
    let scene = adapted_scene();
    let sharded = ["--base_model", "model", "--output_dir", "sharded", "--max_shard_size", "20KB"];
    run(&mut merge(&scene, &sharded)).ok();
    let shards: Vec<String> =
        names(&scene.path("sharded")).into_iter().filter(|name| name.ends_with(".safetensors")).collect();
    assert!(shards.len() > 2, "{shards:?}");
    let base = [&ADAPTER as &[&str], &["--base_model", "sharded"]].concat();
    let path = scene.path("sharded").join(&shards[1]);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    refused(&scene, &base, FAILED, &[&shards[1], "truncated"]);
    fs::remove_file(&path).unwrap();
    refused(&scene, &base, FAILED, &[&shards[1], "does not exist"]);

    let meta = ["--base_model", "model", "--output_dir", "meta", "--format", "state-dict", "--shards", "2"];
    run(&mut merge(&scene, &meta)).ok();
    let base = [&ADAPTER as &[&str], &["--base_model", "meta"]].concat();
    fs::remove_file(scene.path("meta/consolidated.00.pth")).unwrap();
    refused(&scene, &base, FAILED, &["consolidated.00.pth", "missing"]);
}

#[test]
fn settings_that_a_format_cannot_state_are_rejected_by_field() {
    let (_, config) = shapes().remove(1);
    let scene = scene(&config, Kind::Float);
    let out = ["--base_model", "model", "--output_dir", "out", "--format", "state-dict"];
    let three = [&out as &[&str], &["--shards", "3"]].concat();
    run(&mut merge(&scene, &three)).refused(FAILED, &["cannot be cut into 3 shards"]);
    edit_json(&scene.path("model/config.json"), |json| {
        json["rope_scaling"] = serde_json::json!({"rope_type": "linear", "factor": 2.0});
    });
    run(&mut merge(&scene, &out))
        .refused(FAILED, &["`rope_scaling` is", "Meta's code has no setting for it"]);
    assert!(!scene.path("out").exists());
}
