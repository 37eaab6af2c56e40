//! Checkpoints of several files.

use std::path::Path;

use tch::{Kind, Tensor};
use tempfile::TempDir;
use weights::{TensorStore, WeightsError, pt_metadata, write_safetensors};

use crate::common::{golden, told};

/// A directory with two shards and this index.
fn directory(weight_map: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (shard, name, value) in [("one.safetensors", "a", 1.0), ("two.safetensors", "b", 2.0)] {
        let tensor = Tensor::full([2], value, (Kind::Float, tch::Device::Cpu));
        let tensors = [(name.to_owned(), &tensor)];
        write_safetensors(&dir.path().join(shard), &tensors, &pt_metadata()).unwrap();
    }
    let index = format!(r#"{{"metadata": {{}}, "weight_map": {weight_map}}}"#);
    std::fs::write(dir.path().join("model.safetensors.index.json"), index).unwrap();
    dir
}

fn refusal(dir: &Path) -> String {
    let text = told(&TensorStore::open(dir).unwrap_err());
    let index = dir.join("model.safetensors.index.json");
    assert!(text.contains(&*index.to_string_lossy()), "the index is not named: {text}");
    text
}

#[test]
fn the_tensors_of_all_shards_are_one_checkpoint() {
    let dir = directory(r#"{"a": "one.safetensors", "b": "two.safetensors"}"#);
    let store = TensorStore::open(dir.path()).unwrap();
    assert!(store.names().eq(["a", "b"]));
    assert_eq!(Vec::<f32>::try_from(store.tensor("b").unwrap()).unwrap(), [2.0, 2.0]);
    assert_eq!(store.files().len(), 2);
}

#[test]
fn shards_of_torch_pickles_are_one_checkpoint_too() {
    let store = TensorStore::open(&golden("sharded")).unwrap();
    assert!(store.names().eq(["a", "b", "c"]));
    assert_eq!(Vec::<i64>::try_from(store.tensor("b").unwrap().reshape([-1])).unwrap(), [3, 4]);
    assert_eq!(store.info("c").unwrap().kind, Kind::Half);
}

#[test]
fn a_missing_shard_is_named() {
    let dir = directory(r#"{"a": "one.safetensors", "b": "three.safetensors"}"#);
    let text = refusal(dir.path());
    assert!(text.ends_with("names `three.safetensors`, which does not exist"), "{text}");
}

#[test]
fn a_tensor_its_shard_lacks_is_named() {
    let dir = directory(r#"{"a": "one.safetensors", "c": "two.safetensors"}"#);
    let text = refusal(dir.path());
    assert!(text.ends_with("puts tensor `c` into `two.safetensors`, which lacks it"), "{text}");
}

#[test]
fn a_shard_outside_the_directory_is_refused() {
    for shard in ["../one.safetensors", "/etc/hostname", "sub/one.safetensors", "..", ".", ""] {
        let dir = directory(&format!(r#"{{"a": "{shard}"}}"#));
        let error = TensorStore::open(dir.path()).unwrap_err();
        assert!(matches!(error, WeightsError::ShardName { .. }), "{shard}: {error}");
        assert!(refusal(dir.path()).contains(&format!("names `{shard}`, which is not a plain file name")));
    }
}

#[test]
fn a_damaged_shard_is_named_itself() {
    let dir = directory(r#"{"a": "one.safetensors", "b": "two.safetensors"}"#);
    let shard = dir.path().join("two.safetensors");
    let bytes = std::fs::read(&shard).unwrap();
    std::fs::write(&shard, &bytes[..bytes.len() - 1]).unwrap();
    let text = told(&TensorStore::open(dir.path()).unwrap_err());
    assert!(text.contains("two.safetensors` is truncated"), "{text}");
}

#[test]
fn a_malformed_index_is_rejected() {
    let dir = directory("3");
    assert!(refusal(dir.path()).contains("is malformed"));
}
