//! There and back without an adapter is nothing at all.

use std::fs;
use std::path::Path;

use tch::Kind;
use weights::TensorStore;

use crate::common::{Scene, run, shared_data};
use crate::scene::{merge, scene, shapes};

/// Every tensor of both, byte for byte.
fn assert_same_tensors(one: &Path, other: &Path) {
    let (one, other) = (TensorStore::open(one).unwrap(), TensorStore::open(other).unwrap());
    assert!(one.names().eq(other.names()), "{:?}", other.names().collect::<Vec<_>>());
    for name in one.names() {
        assert_eq!(one.info(name).unwrap(), other.info(name).unwrap(), "{name}");
        assert_eq!(one.tensor(name).unwrap(), other.tensor(name).unwrap(), "{name}");
    }
}

fn there_and_back(scene: &Scene, model: &str, format: &[&str], file: &str) {
    let base = ["--base_model", model, "--output_dir", "there", "--overwrite_output_dir"];
    run(&mut merge(scene, &[&base as &[&str], format].concat())).ok();
    let there = format!("there{file}");
    let back = ["--base_model", &there, "--output_dir", "back", "--overwrite_output_dir"];
    run(&mut merge(scene, &back)).ok();
}

#[test]
fn base_to_state_dict_to_hugging_face_is_the_base_byte_for_byte() {
    for (shape, config) in shapes() {
        for kind in [Kind::Float, Kind::BFloat16, Kind::Half] {
            let scene = scene(&config, kind);
            there_and_back(&scene, "model", &["--format", "state-dict"], "");
            let read = |dir: &str| fs::read(scene.path(dir).join("model.safetensors")).unwrap();
            assert!(read("model") == read("back"), "{shape} {kind:?}");
        }
    }
}

#[test]
fn model_parallel_shards_are_reassembled() {
    for (shape, config) in shapes().into_iter().filter(|(shape, _)| *shape != "tied") {
        let scene = scene(&config, Kind::BFloat16);
        there_and_back(&scene, "model", &["--format", "state_dict", "--shards", "2"], "");
        assert!(scene.path("there/consolidated.01.pth").exists(), "{shape}");
        assert_same_tensors(&scene.path("model"), &scene.path("back"));
    }
}

#[test]
fn base_to_gguf_to_hugging_face_is_the_base() {
    // Vectors are kept in float32 there.
    for (_, config) in shapes() {
        let scene = scene(&config, Kind::Float);
        there_and_back(&scene, "model", &["--format", "gguf"], "/model.gguf");
        assert_same_tensors(&scene.path("model"), &scene.path("back"));
    }
}

#[test]
fn real_models_survive_a_round_trip() {
    let Some(shared) = shared_data("real_models_survive_a_round_trip") else { return };
    let scene = Scene::new();
    for name in ["stories15M-hf", "stories260K-hf"] {
        let model = shared.join("models").join(name);
        for (format, file) in
            [(&["--format", "state-dict"] as &[&str], ""), (&["--format", "gguf"], "/model.gguf")]
        {
            there_and_back(&scene, model.to_str().unwrap(), format, file);
            let read = |dir: &Path| fs::read(dir.join("model.safetensors")).unwrap();
            assert!(read(&model) == read(&scene.path("back")), "{name} {format:?}");
        }
    }
}

/// A conversion by another hand than ours.
#[test]
fn metas_file_of_a_real_model_becomes_its_hugging_face_file() {
    let Some(shared) = shared_data("metas_file_of_a_real_model_becomes_its_hugging_face_file") else {
        return;
    };
    let scene = Scene::new();
    let (meta, hf) = (shared.join("models/stories260K-meta"), shared.join("models/stories260K-hf"));
    run(&mut merge(&scene, &["--base_model", meta.to_str().unwrap(), "--output_dir", "out"])).ok();
    let (ours, theirs) = (TensorStore::open(&scene.path("out")).unwrap(), TensorStore::open(&hf).unwrap());
    for name in ours.names() {
        assert_eq!(ours.tensor(name).unwrap(), theirs.tensor(name).unwrap(), "{name}");
    }
    assert!(ours.names().count() >= 2 + 5 * 9);
}
