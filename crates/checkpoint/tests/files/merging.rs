//! Merging into every form, and what comes back from it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use checkpoint::{AdapterDir, Base, FORMATS, HuggingFace, MergeConfig};
use lora::{Adapter, AdapterLayer, LoraConfig, TargetModules};
use nn_core::{Dtype, LinearSource, ModulePath};
use qlora_nf4::Quantization;
use tch::{Device, Kind, Tensor};
use weights::TensorStore;

use crate::common::{logits, max_difference};

const IDS: [i64; 5] = [1, 300, 301, 17, 40];
const R: i64 = 2;
const ALPHA: f64 = 3.0;

fn tiny_llama() -> Base {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/tiny-llama");
    Base::open(dir.to_str().unwrap()).unwrap()
}

fn open(dir: &Path) -> Base {
    Base::open(dir.to_str().unwrap()).unwrap()
}

/// Numbers that differ from each other and are no powers of two.
fn numbers(shape: [i64; 2], shift: f64) -> Tensor {
    let count = shape[0] * shape[1];
    ((Tensor::arange(count, (Kind::Float, Device::Cpu)) + shift).sin() * 0.05).view(shape)
}

/// An adapter of `k_proj`, whose rows every form but Hugging Face's has in another order; and its delta by layer.
fn adapter(base: &Base, dir: &Path) -> BTreeMap<String, Tensor> {
    let width = base.config.hidden_size;
    let mut deltas = BTreeMap::new();
    let mut layers = Vec::new();
    for index in 0..base.config.num_hidden_layers {
        let path = format!("model.layers.{index}.self_attn.k_proj");
        let (a, b) = (numbers([R, width], index as f64), numbers([width, R], 0.3 + index as f64));
        deltas.insert(format!("{path}.weight"), b.matmul(&a) * (ALPHA / R as f64));
        layers.push(AdapterLayer::low_rank(ModulePath::new(path), a, b, ALPHA / R as f64));
    }
    let config = LoraConfig {
        r: R,
        lora_alpha: ALPHA,
        target_modules: Some(TargetModules::Names(vec!["k_proj".to_owned()])),
        ..LoraConfig::default()
    };
    Adapter::write(dir, &config, &layers).unwrap();
    deltas
}

fn merged(base: &Base, adapters: &[AdapterDir], config: MergeConfig) -> (tempfile::TempDir, PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("merged");
    base.merge(adapters, config, &out).unwrap();
    (parent, out)
}

#[test]
fn every_form_reads_back_base_and_adapter() {
    let base = tiny_llama();
    let dir = tempfile::tempdir().unwrap();
    let deltas = adapter(&base, dir.path());
    let before = base.source(Device::Cpu, Some(Kind::Float)).unwrap();
    for format in FORMATS {
        let config = MergeConfig { format: *format, ..MergeConfig::default() };
        let (_parent, out) = merged(&base, &[AdapterDir::new(dir.path())], config);
        let written = open(&out);
        let after = written.source(Device::Cpu, Some(Kind::Float)).unwrap();
        for (name, shape) in base.config.tensor_shapes() {
            let mut expected = before.tensor(&name, &shape).unwrap();
            if let Some(delta) = deltas.get(&name) {
                expected += delta;
            }
            // Float16, the base's precision.
            let expected = expected.to_kind(Kind::Half).to_kind(Kind::Float);
            let difference = max_difference(&after.tensor(&name, &shape).unwrap(), &expected);
            assert!(
                difference < 1e-3 && (difference == 0.0 || deltas.contains_key(&name)),
                "{format:?} {name}"
            );
        }
        let ids = |base: &Base| base.tokenizer().unwrap().encode("Hugo is at home.", true).unwrap();
        assert_eq!(ids(&written), ids(&base), "{format:?}");
        assert_eq!(written.config.vocab_size, base.config.vocab_size, "{format:?}");
    }
}

#[test]
fn quantised_layers_stay_quantised_through_a_base() {
    let base = tiny_llama();
    let nf4 = Quantization::from_flags("nf4", false).unwrap();
    let config = MergeConfig { quantization: nf4, ..MergeConfig::from(&HuggingFace) };
    let (_parent, out) = merged(&base, &[], config);
    let written = open(&out);
    let source = written.source(Device::Cpu, Some(Kind::Float)).unwrap();
    let width = base.config.hidden_size;
    let layer =
        source.linear(&ModulePath::new("model.layers.0.self_attn.q_proj"), width, width, false).unwrap();
    assert!(format!("{layer:?}").contains("QuantLinear"), "{layer:?}");
    // Quantised before it was written, or after it was read: the same model.
    let from_files = written.load(Device::Cpu, Dtype::Float32).unwrap();
    let on_the_way = base.load_quantized(Device::Cpu, Dtype::Float32, nf4).unwrap();
    assert!(logits(&from_files, &IDS).equal(&logits(&on_the_way, &IDS)));
}

#[test]
fn unsupported_settings_are_rejected_before_anything_is_written() {
    let base = tiny_llama();
    let parent = tempfile::tempdir().unwrap();
    let out = parent.path().join("merged");
    let wrong = MergeConfig { shards: 2, ..MergeConfig::from(&HuggingFace) };
    let error = base.merge(&[], wrong, &out).unwrap_err();
    assert!(error.is_usage() && error.to_string().contains("shards is for --format state-dict"), "{error}");
    std::fs::create_dir(&out).unwrap();
    std::fs::write(out.join("notes.txt"), "mine").unwrap();
    let error = base.merge(&[], &HuggingFace, &out).unwrap_err();
    assert!(error.is_usage() && error.to_string().contains("is not empty"), "{error}");
    let names: Vec<_> = parent.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["merged"]);
}

#[test]
fn shards_hold_every_tensor_once_and_none_is_larger_than_allowed() {
    const LIMIT: u64 = 300_000;
    let base = tiny_llama();
    let config = MergeConfig { max_shard_bytes: LIMIT, ..MergeConfig::from(&HuggingFace) };
    let (_parent, out) = merged(&base, &[], config);
    let index = std::fs::read_to_string(out.join("model.safetensors.index.json")).unwrap();
    let index: serde_json::Value = serde_json::from_str(&index).unwrap();
    let map: BTreeMap<String, String> = serde_json::from_value(index["weight_map"].clone()).unwrap();
    let (mut total, mut names) = (0, Vec::new());
    let files: std::collections::BTreeSet<&String> = map.values().collect();
    assert!(
        files.len() > 2
            && files.iter().all(|name| name.ends_with(&format!("-of-{:05}.safetensors", files.len())))
    );
    for file in files {
        let store = TensorStore::open_file(&out.join(file)).unwrap();
        let bytes = |name: &str| {
            let tensor = store.tensor(name).unwrap();
            (tensor.numel() * tensor.kind().elt_size_in_bytes()) as u64
        };
        let size: u64 = store.names().map(bytes).sum();
        assert!(size <= LIMIT || store.names().count() == 1, "{file} holds {size} bytes");
        assert!(store.names().all(|name| map[name] == *file));
        total += size;
        names.extend(store.names().map(str::to_owned));
    }
    assert_eq!(index["metadata"]["total_size"], total);
    names.sort();
    let whole: Vec<String> = base.config.tensor_shapes().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), whole.len());
    assert!(whole.iter().all(|name| names.binary_search(name).is_ok()));
}
