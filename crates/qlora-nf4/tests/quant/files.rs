//! Quantised checkpoints are written and read; what is wrong with one is said.

use std::collections::BTreeMap;
use std::path::Path;

use nn_core::{LinearSource, Mode, ModulePath};
use qlora_nf4::{QuantError, Quantization, QuantizingSource, StoredSource, is_quantized, write_quantized};
use tch::{Device, Kind, Tensor};
use weights::{CheckpointSource, TensorSpec, TensorStore, pt_metadata, write_safetensors};

const LAYER: &str = "model.layers.0.mlp.up_proj";

fn original(dir: &Path) -> TensorStore {
    tch::manual_seed(4);
    let up = (Tensor::randn([40, 128], (Kind::Float, Device::Cpu)) * 0.1).to_kind(Kind::BFloat16);
    let norm = Tensor::ones([128], (Kind::BFloat16, Device::Cpu));
    let path = dir.join("model.safetensors");
    let tensors = [(format!("{LAYER}.weight"), &up), ("model.norm.weight".to_owned(), &norm)];
    write_safetensors(&path, &tensors, &pt_metadata()).unwrap();
    TensorStore::open(dir).unwrap()
}

fn quantise(store: &TensorStore, path: &Path, quantization: Quantization) {
    let specs: Vec<TensorSpec> = store
        .names()
        .map(|name| {
            let info = store.info(name).unwrap();
            TensorSpec { name: name.to_owned(), kind: info.kind, shape: info.shape }
        })
        .collect();
    let is_linear = |name: &str| name.contains("_proj");
    write_quantized::<QuantError>(
        path,
        &specs,
        quantization,
        is_linear,
        |spec| Ok(store.tensor(&spec.name)?),
    )
    .unwrap();
}

fn quantization(name: &str, double_quant: bool) -> Quantization {
    Quantization::from_flags(name, double_quant).unwrap().unwrap()
}

#[test]
fn a_written_checkpoint_equals_quantising_while_loading() {
    let dir = tempfile::tempdir().unwrap();
    let store = original(dir.path());
    let xs = Tensor::randn([3, 128], (Kind::Float, Device::Cpu));
    let path = ModulePath::new(LAYER);
    for quantization in Quantization::all() {
        let file = dir.path().join("quantised.safetensors");
        quantise(&store, &file, quantization);
        let stored = TensorStore::open_file(&file).unwrap();
        assert!(is_quantized(&stored) && !is_quantized(&store));
        let source = StoredSource::new(&stored, Device::Cpu, Some(Kind::Float));
        let ours = source.linear(&path, 128, 40, false).unwrap();
        let plain = CheckpointSource::new(&store, Device::Cpu, None);
        let source = QuantizingSource::new(plain, quantization, Device::Cpu, Kind::Float);
        let loaded = source.linear(&path, 128, 40, false).unwrap();
        let (a, b) = (ours.forward(&xs, Mode::Eval).unwrap(), loaded.forward(&xs, Mode::Eval).unwrap());
        assert_eq!(a, b, "{quantization:?}");
        assert_eq!(source.tensor("model.norm.weight", &[128]).unwrap().kind(), Kind::Float);
        let weight = store.tensor(&format!("{LAYER}.weight")).unwrap();
        let there_and_back = quantization.round_trip("w", &weight, weight.kind()).unwrap();
        assert_eq!(there_and_back, ours.dense_weight(Kind::BFloat16).unwrap(), "{quantization:?}");
    }
}

/// Writes a quantised layer, applies `change` to its parts, and returns the error of opening it.
fn broken(quantization: Quantization, change: impl FnOnce(&mut BTreeMap<String, Tensor>)) -> String {
    let dir = tempfile::tempdir().unwrap();
    let store = original(dir.path());
    let file = dir.path().join("quantised.safetensors");
    quantise(&store, &file, quantization);
    let stored = TensorStore::open_file(&file).unwrap();
    let mut tensors: BTreeMap<String, Tensor> =
        stored.names().map(|name| (name.to_owned(), stored.tensor(name).unwrap())).collect();
    change(&mut tensors);
    let named: Vec<_> = tensors.iter().map(|(name, tensor)| (name.clone(), tensor)).collect();
    let file = dir.path().join("broken.safetensors");
    write_safetensors(&file, &named, &pt_metadata()).unwrap();
    let stored = TensorStore::open_file(&file).unwrap();
    let source = StoredSource::new(&stored, Device::Cpu, None);
    let error = source.linear(&ModulePath::new(LAYER), 128, 40, false).unwrap_err();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}

fn with_state(tensors: &mut BTreeMap<String, Tensor>, from: &str, to: &str) {
    let name = format!("{LAYER}.weight.quant_state.bitsandbytes__nf4");
    let text = String::from_utf8(Vec::<u8>::try_from(&tensors[&name]).unwrap()).unwrap();
    assert!(text.contains(from), "{text}");
    tensors.insert(name, Tensor::from_slice(text.replace(from, to).as_bytes()));
}

#[test]
fn a_damaged_quant_state_is_rejected_by_name() {
    let nf4 = quantization("nf4", true);
    for part in ["absmax", "nested_absmax", "nested_quant_map", "quant_map"] {
        let name = format!("{LAYER}.weight.{part}");
        let text = broken(nf4, |tensors| drop(tensors.remove(&name)));
        assert!(text.contains(&name) && text.contains("lacks"), "{text}");
        let text = broken(nf4, |tensors| {
            let short = tensors[&name].narrow(0, 0, tensors[&name].size()[0] - 1).contiguous();
            tensors.insert(name.clone(), short);
        });
        assert!(text.contains(&name) && text.contains("has length"), "{text}");
    }
    let state = |from: &str, to: &str| broken(nf4, |tensors| with_state(tensors, from, to));
    assert!(state("\"blocksize\":64", "\"blocksize\":48").contains("has blocksize 48"));
    assert!(state("\"blocksize\":64", "\"blocksize\":128").contains("has length"));
    assert!(state("\"quant_type\":\"nf4\"", "\"quant_type\":\"fp4\"").contains("has quant_type fp4"));
    assert!(state("[40,128]", "[128,40]").contains("has shape [128, 40]"));
    assert!(state("\"dtype\":\"bfloat16\"", "\"dtype\":\"int64\"").contains("has dtype int64"));
    assert!(state("\"nested_blocksize\":256", "\"nested_blocksize\":64").contains("nested_blocksize 64"));
    assert!(state("\"shape\"", "\"shap\"").contains("malformed"));
    assert!(state("{\"", "\"").contains("malformed"));
    let text = broken(nf4, |tensors| {
        tensors.remove(&format!("{LAYER}.weight.quant_state.bitsandbytes__nf4"));
    });
    assert!(text.contains("lacks its") && text.contains("quant_state"), "{text}");
}

#[test]
fn a_damaged_int8_weight_is_rejected_by_name() {
    let text = broken(quantization("int8", false), |tensors| drop(tensors.remove(&format!("{LAYER}.SCB"))));
    assert!(text.contains("lacks its") && text.contains("SCB"), "{text}");
    let text = broken(quantization("int8", false), |tensors| {
        tensors.insert(format!("{LAYER}.SCB"), Tensor::ones([39], (Kind::Float, Device::Cpu)));
    });
    assert!(text.contains("has length 39; expected 40"), "{text}");
    let text = broken(quantization("int8", false), |tensors| {
        tensors.insert(format!("{LAYER}.weight_format"), Tensor::from_slice(&[3u8]));
    });
    assert!(text.contains("weight_format") && text.contains("is 3"), "{text}");
}

#[test]
fn a_weight_with_nan_is_rejected_by_name() {
    let weight = Tensor::ones([2, 64], (Kind::Float, Device::Cpu));
    let _ = weight.get(1).get(5).fill_(f64::NAN);
    for quantization in Quantization::all() {
        let error = quantization.linear("a.weight", &weight, None, Device::Cpu).unwrap_err();
        assert!(matches!(&error, QuantError::NotFinite { name } if name == "a.weight"), "{error}");
    }
}
