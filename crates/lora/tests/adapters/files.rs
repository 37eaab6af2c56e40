//! Adapter directories, whole and damaged.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use lora::{LoraAdapters, LoraConfig, LoraError, ModelShape};
use nn_core::Mode;
use serde_json::Value;
use tch::{Kind, Tensor};
use tempfile::TempDir;
use weights::{TensorStore, pt_metadata, write_safetensors};

use crate::common::{OUT, Toy, WIDTH, adapted, config, every_variant, inputs};

const ADAPTER_CONFIG: &str = "adapter_config.json";
const ADAPTER_WEIGHTS: &str = "adapter_model.safetensors";
const FIRST_A: &str = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight";
const FIRST_B: &str = "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight";

fn saved() -> (TempDir, Toy, LoraAdapters) {
    saved_with(&config())
}

fn saved_with(config: &LoraConfig) -> (TempDir, Toy, LoraAdapters) {
    let dir = tempfile::tempdir().unwrap();
    let (toy, adapters) = adapted(config, Kind::Float);
    adapters.save(dir.path()).unwrap();
    (dir, toy, adapters)
}

/// Rewrites the tensors of a saved adapter.
fn change(dir: &Path, change: impl FnOnce(&mut BTreeMap<String, Tensor>)) {
    let path = dir.join(ADAPTER_WEIGHTS);
    let store = TensorStore::open_file(&path).unwrap();
    let mut tensors = store.names().map(|n| (n.to_owned(), store.tensor(n).unwrap().copy())).collect();
    drop(store);
    change(&mut tensors);
    let named: Vec<(String, &Tensor)> = tensors.iter().map(|(name, t)| (name.clone(), t)).collect();
    write_safetensors(&path, &named, &pt_metadata()).unwrap();
}

fn load(dir: &Path) -> Result<(Toy, LoraAdapters), LoraError> {
    let mut toy = Toy::new(Kind::Float);
    LoraAdapters::load(&mut toy, dir).map(|adapters| (toy, adapters))
}

fn refusal(dir: &Path) -> String {
    load(dir).expect_err("the adapter is refused").to_string()
}

#[test]
fn a_saved_adapter_loads_as_what_it_was() {
    for config in every_variant() {
        let (dir, toy, adapters) = saved_with(&config);
        let (again, loaded) = load(dir.path()).unwrap();
        for slot in 0..4 {
            let ys = |toy: &Toy| toy.forward(slot, &inputs(5), Mode::Eval);
            // The second pass is that of weights which are known to be frozen.
            assert_eq!(ys(&again), ys(&toy));
            assert_eq!(ys(&again), ys(&toy));
        }
        let expected = LoraConfig { inference_mode: true, ..adapters.config().clone() };
        assert_eq!(*loaded.config(), expected);
        assert_eq!(loaded.config().variant, config.variant);
    }
}

#[test]
fn a_saved_adapter_has_the_names_and_the_layout_of_peft() {
    let (dir, ..) = saved();
    let mut files: Vec<_> =
        dir.path().read_dir().unwrap().map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    assert_eq!(files, ["adapter_config.json", "adapter_model.safetensors"]);
    let store = TensorStore::open_file(&dir.path().join(ADAPTER_WEIGHTS)).unwrap();
    assert_eq!(store.names().count(), 8);
    assert_eq!(store.info(FIRST_A).unwrap().shape, [3, WIDTH]);
    assert_eq!(store.info(FIRST_B).unwrap().shape, [OUT, 3]);
    assert_eq!(store.metadata()["format"], "pt");
    let text = std::fs::read_to_string(dir.path().join(ADAPTER_CONFIG)).unwrap();
    let json: Value = serde_json::from_str(&text).unwrap();
    for (field, expected) in [
        ("peft_type", Value::from("LORA")),
        ("task_type", "CAUSAL_LM".into()),
        ("r", 3.into()),
        ("lora_alpha", 7.into()),
        ("target_modules", vec!["q_proj", "v_proj"].into()),
        ("bias", "none".into()),
        ("inference_mode", true.into()),
    ] {
        assert_eq!(json[field], expected, "{field}");
    }
}

#[test]
fn a_tensor_that_is_missing_is_named() {
    let (dir, ..) = saved();
    change(dir.path(), |tensors| drop(tensors.remove(FIRST_B)));
    let path = dir.path().join(ADAPTER_WEIGHTS);
    let expected = format!("`{}` lacks 1 of the adapter's 8 tensors, first `{FIRST_B}`", path.display());
    assert_eq!(refusal(dir.path()), expected);
}

#[test]
fn a_tensor_that_no_layer_takes_is_named() {
    let (dir, ..) = saved();
    let extra = FIRST_A.replace("q_proj", "k_proj");
    change(dir.path(), |tensors| drop(tensors.insert(extra.clone(), Tensor::from_slice(&[1.0f32]))));
    let path = dir.path().join(ADAPTER_WEIGHTS);
    let expected =
        format!("`{}` holds 1 tensors that no layer of this model takes, first `{extra}`", path.display());
    assert_eq!(refusal(dir.path()), expected);
}

#[test]
fn a_tensor_of_another_shape_is_named_with_both_shapes() {
    let (dir, _toy, adapters) = saved();
    change(dir.path(), |tensors| {
        let wide = Tensor::zeros([3, WIDTH + 1], tch::kind::FLOAT_CPU);
        drop(tensors.insert(FIRST_A.to_owned(), wide));
    });
    let expected = format!("`{FIRST_A}` has shape [3, 13], but its layer asks for [3, 12]");
    assert_eq!(refusal(dir.path()), expected);
    assert_eq!(adapters.verify_saved(dir.path()).unwrap_err().to_string(), expected);
}

#[test]
fn an_adapter_that_does_nothing_is_told_after_saving() {
    let (dir, _toy, adapters) = saved();
    let found = adapters.verify_saved(dir.path()).unwrap();
    assert_eq!((found, adapters.num_parameters()), (8, (4 * 3 * (WIDTH + OUT)) as usize));
    change(dir.path(), |tensors| {
        let _ = tensors.get_mut(FIRST_B).unwrap().zero_();
    });
    let path = dir.path().join(ADAPTER_WEIGHTS);
    let expected = format!(
        "1 of 4 lora_B tensors in `{}` are all zero, first `{FIRST_B}`: nothing was learnt there",
        path.display()
    );
    assert_eq!(adapters.verify_saved(dir.path()).unwrap_err().to_string(), expected);
    change(dir.path(), |tensors| drop(tensors.remove(FIRST_A)));
    assert!(matches!(adapters.verify_saved(dir.path()), Err(LoraError::MissingKeys { .. })));
}

#[test]
fn keys_with_the_name_of_the_adapter_are_read() {
    for config in every_variant() {
        let (dir, toy, _adapters) = saved_with(&config);
        change(dir.path(), |tensors| {
            let with_name = |name: String| format!("{}.default.weight", name.trim_end_matches(".weight"));
            let named = std::mem::take(tensors).into_iter();
            *tensors = named.map(|(name, t)| (with_name(name), t)).collect();
        });
        let (again, _adapters) = load(dir.path()).unwrap();
        assert_eq!(again.forward(3, &inputs(5), Mode::Eval), toy.forward(3, &inputs(5), Mode::Eval));
    }
}

#[test]
fn a_directory_that_is_no_adapter_is_told_with_the_file() {
    let empty = tempfile::tempdir().unwrap();
    assert!(refusal(empty.path()).contains(ADAPTER_CONFIG));
    let (dir, ..) = saved();
    std::fs::remove_file(dir.path().join(ADAPTER_WEIGHTS)).unwrap();
    assert!(refusal(dir.path()).contains(ADAPTER_WEIGHTS));
    std::fs::write(dir.path().join(ADAPTER_CONFIG), "{").unwrap();
    assert!(refusal(dir.path()).contains("is not a PEFT adapter_config.json"));
}

#[test]
fn an_adapter_that_trains_is_restored_and_a_frozen_one_is_not() {
    for config in every_variant() {
        let (dir, toy, _adapters) = saved_with(&config);
        let mut again = Toy::new(Kind::Float);
        let adapters = LoraAdapters::attach(&mut again, &config, 5).unwrap();
        adapters.restore(dir.path()).unwrap();
        assert_eq!(again.forward(1, &inputs(5), Mode::Eval), toy.forward(1, &inputs(5), Mode::Eval));
        let (_toy, frozen) = load(dir.path()).unwrap();
        assert!(matches!(frozen.restore(dir.path()), Err(LoraError::Frozen)));
    }
}

#[test]
fn the_number_of_parameters_is_known_without_a_model() {
    for config in every_variant() {
        let (_toy, adapters) = adapted(&config, Kind::Float);
        let shape = ModelShape::of(&mut Toy::new(Kind::Float));
        assert_eq!(config.num_parameters(&shape).unwrap(), adapters.num_parameters() as i64);
    }
}

#[test]
fn a_tensor_that_is_not_finite_is_named() {
    let (dir, ..) = saved();
    change(dir.path(), |tensors| drop(tensors.get_mut(FIRST_A).unwrap().fill_(f64::NAN)));
    assert!(refusal(dir.path()).starts_with(&format!("`{FIRST_A}` in `")));
}

#[test]
fn an_adapter_in_a_folder_of_its_name_is_found_where_it_is_the_only_one() {
    let (dir, toy, adapters) = saved();
    let parent = tempfile::tempdir().unwrap();
    let save = |name: &str| {
        std::fs::create_dir(parent.path().join(name)).unwrap();
        adapters.save(&parent.path().join(name)).unwrap();
    };
    save("german");
    let (again, _adapters) = load(parent.path()).unwrap();
    assert_eq!(again.forward(1, &inputs(5), Mode::Eval), toy.forward(1, &inputs(5), Mode::Eval));
    save("french");
    let error = refusal(parent.path());
    assert!(error.contains("several adapters") && error.contains("french`, `"), "{error}");
    // One that lies there itself comes first.
    adapters.save(parent.path()).unwrap();
    load(parent.path()).unwrap();
    drop(dir);
}

#[test]
fn a_configuration_that_is_no_file_of_text_is_named() {
    let (dir, _toy, _adapters) = saved();
    let path = dir.path().join(ADAPTER_CONFIG);
    let cause = || {
        let error = load(dir.path()).map(|_| ()).unwrap_err();
        error.source().unwrap().to_string()
    };
    std::fs::write(&path, "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 700\n").unwrap();
    assert!(cause().contains("Git LFS pointer"), "{}", cause());
    std::fs::remove_file(&path).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    assert!(cause().contains("a named pipe"), "{}", cause());
}

#[test]
fn an_adapter_of_another_base_is_no_start_of_a_run() {
    let (dir, _toy, adapters) = saved();
    let path = dir.path().join(ADAPTER_CONFIG);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace(r#""init_lora_weights": true"#, r#""init_lora_weights": "pissa""#))
        .unwrap();
    let error = adapters.restore(dir.path()).unwrap_err().to_string();
    assert!(error.contains("`init_lora_weights` is `pissa`"), "{error}");
    load(dir.path()).unwrap();
}
