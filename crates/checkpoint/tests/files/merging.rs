//! Merging into every form, and what comes back from it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use checkpoint::{AdapterDir, Base, FORMATS, HuggingFace, MergeConfig};
use lora::{AdapterLayer, LoraConfig, TargetModules, save_adapter};
use nn_core::{Dtype, LinearSource, ModulePath};
use qlora_nf4::Quantization;
use tch::{Device, Kind, Tensor};

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
    save_adapter(dir, &config, &layers).unwrap();
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
fn what_a_form_does_not_heed_is_rejected_before_anything_is_written() {
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
