//! Models of the goldens, and what transformers computed with them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use llama_model::{Llama, LlamaConfig};
use nn_core::{IGNORE_INDEX, Mode, TokenBatch};
use serde::Deserialize;
use tch::{Device, Kind, Tensor};
use weights::{CheckpointSource, ParameterSource, TensorStore};

/// Every model that `goldens/make.py` makes.
pub(crate) const MODELS: [&str; 9] =
    ["llama1", "llama3", "tied_linear", "biased", "qwen2", "qwen3", "dynamic", "yarn", "yarn_mscale"];

/// `golden.json` of one model.
#[derive(Debug, Deserialize)]
pub(crate) struct Golden {
    pub(crate) input_ids: Vec<i64>,
    pub(crate) logits: Vec<Vec<f32>>,
    pub(crate) greedy: Vec<i64>,
    pub(crate) labels: Vec<i64>,
    pub(crate) loss_sum: f64,
    pub(crate) gradient_norms: BTreeMap<String, f64>,
    pub(crate) long_input_ids: Vec<i64>,
    pub(crate) long_last_logits: Vec<Vec<f32>>,
    pub(crate) continued_input_ids: Vec<i64>,
    pub(crate) continued_from: usize,
    pub(crate) continued_logits: Vec<Vec<f32>>,
}

pub(crate) fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens")
}

pub(crate) fn golden(name: &str) -> Golden {
    let text = std::fs::read_to_string(goldens().join(name).join("golden.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

pub(crate) fn load(dir: &Path, kind: Kind) -> Llama {
    let store = TensorStore::open(dir).unwrap();
    let source = CheckpointSource::new(&store, Device::Cpu, Some(kind));
    Llama::load(&LlamaConfig::from_dir(dir).unwrap(), &source).unwrap()
}

/// The model of this name in float32.
pub(crate) fn stored(name: &str) -> Llama {
    load(&goldens().join(name), Kind::Float)
}

/// The model of this name in float32 with every tensor a parameter.
pub(crate) fn trainable(name: &str) -> (Llama, Vec<(String, Tensor)>) {
    let dir = goldens().join(name);
    let store = TensorStore::open(&dir).unwrap();
    let source = ParameterSource::new(CheckpointSource::new(&store, Device::Cpu, None), Kind::Float);
    let model = Llama::load(&LlamaConfig::from_dir(&dir).unwrap(), &source).unwrap();
    (model, source.into_parameters())
}

/// Sequences without labels.
pub(crate) fn unlabelled(sequences: &[Vec<i64>]) -> TokenBatch {
    let labels: Vec<Vec<i64>> = sequences.iter().map(|ids| vec![IGNORE_INDEX; ids.len()]).collect();
    TokenBatch::from_sequences(sequences.iter().map(Vec::as_slice).zip(labels.iter().map(Vec::as_slice)))
}

/// Logits of every token of a batch, `[N, V]`.
pub(crate) fn logits(model: &Llama, sequences: &[Vec<i64>]) -> Tensor {
    tch::no_grad(|| model.logits(&model.hidden_states(&unlabelled(sequences), Mode::Eval).unwrap()).unwrap())
}

/// `rows` as `[rows, columns]`.
pub(crate) fn matrix(rows: &[Vec<f32>]) -> Tensor {
    Tensor::from_slice(&rows.concat()).view([rows.len() as i64, -1])
}

pub(crate) fn max_difference(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    (a - b).abs().max().double_value(&[])
}
