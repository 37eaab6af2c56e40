//! Configurations that contradict the weights, and rotary settings on their way through other forms.

use std::fs;
use std::path::{Path, PathBuf};

use checkpoint::{Base, Gguf, HuggingFace, MergeConfig, Meta};
use llama_model::RopeScaling;
use nn_core::{Dtype, UnknownSettings};
use serde_json::{Value, json};
use tch::{Device, Tensor};
use weights::{TensorStore, pt_metadata, write_safetensors};

use crate::common::{logits, max_difference};

const IDS: [i64; 5] = [1, 300, 301, 17, 40];
const HEAD: &str = "lm_head.weight";

/// A copy of the embedded model, whose head is its embedding, with these settings in its configuration.
fn copy(settings: &[(&str, Value)]) -> (tempfile::TempDir, PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("model");
    fs::create_dir(&dir).unwrap();
    let original = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/tiny-llama");
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        fs::copy(original.join(file), dir.join(file)).unwrap();
    }
    let path = dir.join("config.json");
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    for (key, value) in settings {
        config[key] = value.clone();
    }
    fs::write(path, config.to_string()).unwrap();
    (parent, dir)
}

fn open(dir: &Path) -> Base {
    Base::open(dir.to_str().unwrap()).unwrap()
}

fn logits_of(base: &Base) -> Tensor {
    logits(&base.load(Device::Cpu, Dtype::Float32).unwrap(), &IDS)
}

/// Adds a tensor to the weights.
fn add(dir: &Path, name: &str, make: impl Fn(&TensorStore) -> Tensor) {
    let path = dir.join("model.safetensors");
    let store = TensorStore::open_file(&path).unwrap();
    let mut tensors: Vec<(String, Tensor)> =
        store.names().map(|name| (name.to_owned(), store.tensor(name).unwrap().copy())).collect();
    tensors.push((name.to_owned(), make(&store)));
    drop(store);
    let named: Vec<(String, &Tensor)> = tensors.iter().map(|(name, tensor)| (name.clone(), tensor)).collect();
    write_safetensors(&path, &named, &pt_metadata()).unwrap();
}

fn text(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| (*error).source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[test]
fn a_tied_configuration_uses_the_head_that_the_weights_have() {
    let (_keep, dir) = copy(&[]);
    let tied = logits_of(&open(&dir));
    add(&dir, HEAD, |store| store.tensor("model.embed_tokens.weight").unwrap().copy());
    let base = open(&dir);
    assert!(base.config.tie_word_embeddings, "a head that is the embedding is no head of its own");
    assert_eq!(logits_of(&base), tied);

    let (_keep, dir) = copy(&[]);
    add(&dir, HEAD, |store| store.tensor("model.embed_tokens.weight").unwrap() * 0.5);
    let base = open(&dir);
    assert!(!base.config.tie_word_embeddings);
    let own = logits_of(&base);
    assert!(max_difference(&own, &(tied * 0.5)) < 1e-4);
    for config in [MergeConfig::from(&HuggingFace), MergeConfig::from(&Gguf), MergeConfig::from(&Meta)] {
        let out = dir.parent().unwrap().join(config.format.name());
        base.merge(&[], config, &out).unwrap();
        assert!(max_difference(&logits_of(&open(&out)), &own) < 1e-4, "{:?}", config.format);
    }
    let config = fs::read_to_string(dir.parent().unwrap().join("hf/config.json")).unwrap();
    let config: Value = serde_json::from_str(&config).unwrap();
    assert_eq!(config["tie_word_embeddings"], false);
}

#[test]
fn a_configuration_that_the_weights_contradict_is_refused_by_tensor_before_anything_is_built() {
    for (key, value, expected) in [
        ("num_hidden_layers", json!(5), "model.layers.4."),
        ("intermediate_size", json!(641), "has shape [640, 256], but the configuration asks for [641, 256]"),
        ("vocab_size", json!(4000), "`model.embed_tokens.weight` has shape"),
    ] {
        let (_keep, dir) = copy(&[(key, value)]);
        let base = open(&dir);
        for error in [base.load(Device::Cpu, Dtype::Auto).err(), base.source(Device::Cpu, None).err()] {
            let text = text(&error.unwrap());
            assert!(text.contains(expected), "{text}");
        }
        assert!(base.merge(&[], &HuggingFace, dir.parent().unwrap().join("out")).is_err());
    }
}

#[test]
fn an_unknown_setting_is_refused_unless_it_is_to_be_ignored() {
    let (_keep, dir) = copy(&[("use_magic", json!(true)), ("no_magic", json!(null))]);
    let name = dir.to_str().unwrap();
    let error = Base::open(name).unwrap_err().to_string();
    assert!(error.contains("`use_magic` (true)") && error.contains("--ignore_unknown_settings"), "{error}");
    Base::open_with(name, UnknownSettings::Ignore).unwrap();
}

#[test]
fn rotary_settings_come_back_from_every_form_that_has_a_place_for_them() {
    let usual = json!({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64});
    let set = json!({"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 32,
        "attention_factor": 0.7, "beta_fast": 16.0, "beta_slow": 2.0});
    let linear = json!({"rope_type": "linear", "factor": 2.0});
    for scaling in [usual, set, linear] {
        let (_keep, dir) = copy(&[("rope_scaling", scaling)]);
        let base = open(&dir);
        for config in [MergeConfig::from(&HuggingFace), MergeConfig::from(&Gguf)] {
            let out = dir.parent().unwrap().join(config.format.name());
            base.merge(&[], config, &out).unwrap();
            let written = open(&out);
            let scaling = |base: &Base| base.config.rope_scaling.as_ref().unwrap().attention_scaling();
            let frequencies = base.config.inverse_frequencies().into_iter().chain([scaling(&base)]);
            let back = written.config.inverse_frequencies().into_iter().chain([scaling(&written)]);
            for (before, after) in frequencies.zip(back) {
                assert!((before - after).abs() <= 1e-6 * before, "{:?}: {before} {after}", config.format);
            }
        }
    }
}

#[test]
fn rotary_settings_that_a_form_has_no_place_for_are_refused() {
    let dynamic = json!({"rope_type": "dynamic", "factor": 4.0});
    let not_cut = json!({"rope_type": "yarn", "factor": 4.0, "truncate": false});
    for scaling in [dynamic, not_cut] {
        let (_keep, dir) = copy(&[("rope_scaling", scaling)]);
        let base = open(&dir);
        assert!(!matches!(base.config.rope_scaling, None | Some(RopeScaling::Linear { .. })));
        for config in [MergeConfig::from(&Gguf), MergeConfig::from(&Meta)] {
            let error = base.merge(&[], config, dir.parent().unwrap().join("out")).unwrap_err().to_string();
            assert!(error.contains("`rope_scaling` is"), "{error}");
        }
    }
}
