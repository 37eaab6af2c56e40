//! Models of the goldens, and their logits.

use std::path::{Path, PathBuf};

use llama_model::{Llama, LlamaConfig};
use nn_core::{IGNORE_INDEX, Mode, TokenBatch};
use tch::{Device, Kind, Tensor};
use weights::{CheckpointSource, TensorStore};

pub(crate) fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens")
}

/// A Hugging Face directory of `llama-model/tests/goldens/make.py`, which `goldens/make_sources.py` writes in other forms.
pub(crate) fn family(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../llama-model/tests/goldens").join(name)
}

pub(crate) fn load(dir: &Path, kind: Kind) -> Llama {
    let store = TensorStore::open(dir).unwrap();
    let source = CheckpointSource::new(&store, Device::Cpu, Some(kind));
    Llama::load(&LlamaConfig::from_dir(dir).unwrap(), &source).unwrap()
}

/// Logits of every token, `[N, V]`.
pub(crate) fn logits(model: &Llama, ids: &[i64]) -> Tensor {
    let labels = vec![IGNORE_INDEX; ids.len()];
    let batch = TokenBatch::from_sequences([(ids, labels.as_slice())]);
    tch::no_grad(|| model.logits(&model.hidden_states(&batch, Mode::Eval).unwrap()).unwrap())
}

/// `rows` as `[rows, columns]`.
pub(crate) fn matrix(rows: &[Vec<f32>]) -> Tensor {
    Tensor::from_slice(&rows.concat()).view([rows.len() as i64, -1])
}

pub(crate) fn max_difference(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    (a - b).abs().max().double_value(&[])
}
