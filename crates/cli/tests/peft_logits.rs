//! Real models with adapters of real PEFT: its logits, its files, and merging.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use llama_model::{Llama, LlamaConfig};
use lora::{LoraAdapters, LoraConfig};
use nn_core::{IGNORE_INDEX, LinearSource, Mode, NnError, TokenBatch, VisitLinears};
use serde::Deserialize;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};
use weights::{CheckpointSource, TensorStore};

/// Tolerance of logits up to about 10 in size: a few hundred roundings of float32 in another order.
const TOLERANCE: f64 = 1e-4;

/// `golden.json` of an adapter of `crates/lora/tests/goldens`.
#[derive(Deserialize)]
struct Golden {
    input_ids: Vec<i64>,
    logits: Vec<Vec<f32>>,
    /// After `merge_and_unload`.
    merged_logits: Option<Vec<Vec<f32>>>,
    #[serde(default)]
    batch: Vec<Vec<i64>>,
    /// Before each step of gradient descent over `batch`.
    #[serde(default)]
    losses: Vec<f64>,
}

const ADAPTER_CONFIG: &str = "adapter_config.json";
const ADAPTER_WEIGHTS: &str = "adapter_model.safetensors";

const ADAPTERS: [&str; 4] = ["q_and_v", "patterns", "excluded", "dora"];

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn small_base() -> PathBuf {
    crates().join("llama-model/tests/goldens/llama3")
}

fn adapter_dir(name: &str) -> PathBuf {
    crates().join("lora/tests/goldens").join(name)
}

fn golden(name: &str) -> Golden {
    serde_json::from_slice(&std::fs::read(adapter_dir(name).join("golden.json")).unwrap()).unwrap()
}

fn base(dir: &Path) -> Llama {
    let store = TensorStore::open(dir).unwrap();
    let source = CheckpointSource::new(&store, Device::Cpu, Some(Kind::Float));
    Llama::load(&LlamaConfig::from_dir(dir).unwrap(), &source).unwrap()
}

fn adapted(base_dir: &Path, adapter: &Path) -> (Llama, LoraAdapters) {
    let mut model = base(base_dir);
    let adapters = LoraAdapters::load(&mut model, adapter).unwrap();
    (model, adapters)
}

/// `[T, V]`
fn logits(model: &Llama, ids: &[i64]) -> Tensor {
    let labels = vec![IGNORE_INDEX; ids.len()];
    let batch = TokenBatch::from_sequences([(ids, labels.as_slice())]);
    tch::no_grad(|| model.logits(&model.hidden_states(&batch, Mode::Eval).unwrap()).unwrap())
}

fn max_difference(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    (a - b).abs().max().double_value(&[])
}

fn matrix(rows: &[Vec<f32>]) -> Tensor {
    Tensor::from_slice(&rows.concat()).view([rows.len() as i64, -1])
}

/// A checkpoint with every adapter added to its weight.
struct Merged<'a> {
    base: CheckpointSource<'a>,
    adapters: &'a LoraAdapters,
}

impl LinearSource for Merged<'_> {
    fn tensor(&self, name: &str, shape: &[i64]) -> Result<Tensor, NnError> {
        let weight = self.base.tensor(name, shape)?;
        let path = name.trim_end_matches(".weight");
        match self.adapters.layers().iter().find(|layer| layer.path.as_str() == path) {
            Some(layer) => Ok(&weight + layer.delta_weight(&weight)?),
            None => Ok(weight),
        }
    }
}

fn merged(base_dir: &Path, adapters: &LoraAdapters) -> Llama {
    let store = TensorStore::open(base_dir).unwrap();
    let base = CheckpointSource::new(&store, Device::Cpu, Some(Kind::Float));
    tch::no_grad(|| {
        Llama::load(&LlamaConfig::from_dir(base_dir).unwrap(), &Merged { base, adapters }).unwrap()
    })
}

#[test]
fn logits_with_adapters_of_peft_equal_those_of_peft() {
    for name in ADAPTERS {
        let golden = golden(name);
        let (model, adapters) = adapted(&small_base(), &adapter_dir(name));
        let ours = logits(&model, &golden.input_ids);
        let difference = max_difference(&ours, &matrix(&golden.logits));
        assert!(difference < TOLERANCE, "{name}: {difference}");
        adapters.set_enabled(false);
        assert!(max_difference(&ours, &logits(&model, &golden.input_ids)) > 0.1, "{name} does nothing");
    }
}

#[test]
fn merging_changes_no_logit() {
    for name in ADAPTERS {
        let golden = golden(name);
        let (model, adapters) = adapted(&small_base(), &adapter_dir(name));
        let merged = merged(&small_base(), &adapters);
        let difference =
            max_difference(&logits(&model, &golden.input_ids), &logits(&merged, &golden.input_ids));
        assert!(difference < TOLERANCE, "{name}: {difference}");
    }
}

#[test]
fn logits_of_a_merged_dora_equal_those_of_peft() {
    let golden = golden("dora");
    let (_model, adapters) = adapted(&small_base(), &adapter_dir("dora"));
    let ours = logits(&merged(&small_base(), &adapters), &golden.input_ids);
    let difference = max_difference(&ours, &matrix(&golden.merged_logits.unwrap()));
    assert!(difference < TOLERANCE, "{difference}");
}

#[test]
fn losses_of_training_a_dora_equal_those_of_peft() {
    const LEARNING_RATE: f64 = 0.3;
    let golden = golden("dora");
    let mut model = base(&small_base());
    let config = LoraConfig::from_dir(&adapter_dir("dora")).unwrap();
    let adapters = LoraAdapters::attach(&mut model, &config, 0).unwrap();
    adapters.restore(&adapter_dir("dora")).unwrap();
    let batch = TokenBatch::from_sequences(golden.batch.iter().map(|ids| (ids.as_slice(), ids.as_slice())));
    for (seed, expected) in (0..).zip(&golden.losses) {
        let loss = model.loss_sum(&batch, Mode::Train { seed }).unwrap() / batch.num_targets() as f64;
        loss.backward();
        for (_, mut parameter) in adapters.parameters() {
            let mut gradient = parameter.grad();
            let _ = tch::no_grad(|| parameter.subtract_(&(&gradient * LEARNING_RATE)));
            let _ = gradient.zero_();
        }
        let loss = loss.double_value(&[]);
        assert!((loss - expected).abs() < 1e-4, "step {seed}: {loss}, PEFT {expected}");
    }
    assert_eq!(golden.losses.len(), 8);
}

/// With `LORA_KEEP_SAVED=DIRECTORY` in the environment, what is saved here stays, for
/// `crates/lora/tests/goldens/check_with_peft.py`.
#[test]
fn a_saved_adapter_is_the_file_that_peft_saved() {
    let scratch = tempfile::tempdir().unwrap();
    let kept = std::env::var_os("LORA_KEEP_SAVED").map(PathBuf::from);
    for name in ADAPTERS {
        let (model, adapters) = adapted(&small_base(), &adapter_dir(name));
        let dir = kept.as_deref().unwrap_or(scratch.path()).join(name);
        std::fs::create_dir_all(&dir).unwrap();
        adapters.save(&dir).unwrap();
        adapters.verify_saved(&dir).unwrap();
        let read = |dir: &Path, file| std::fs::read(dir.join(file)).unwrap();
        assert_eq!(read(&dir, ADAPTER_WEIGHTS), read(&adapter_dir(name), ADAPTER_WEIGHTS), "{name}");
        let config = |dir: &Path| -> BTreeMap<String, Value> {
            serde_json::from_slice(&read(dir, ADAPTER_CONFIG)).unwrap()
        };
        let (ours, theirs) = (config(&dir), config(&adapter_dir(name)));
        for (field, value) in &ours {
            // 3 and 3.0 are one number.
            let same = match (value, &theirs[field]) {
                (Value::Object(a), Value::Object(b)) => {
                    a.len() == b.len() && a.iter().all(|(key, a)| a.as_f64() == b[key].as_f64())
                }
                (a, b) => a == b,
            };
            assert!(same, "{name}: {field} is {value}, PEFT wrote {}", theirs[field]);
        }
        if kept.is_some() {
            let ids = golden(name).input_ids;
            let rows: Vec<Vec<f32>> = Vec::try_from(logits(&model, &ids)).unwrap();
            let text = json!({"base": "llama3", "input_ids": ids, "logits": rows}).to_string();
            std::fs::write(dir.join("logits.json"), text).unwrap();
        }
    }
}

/// The excerpt of `golden.json` that concerns the final adapter.
#[derive(Deserialize)]
struct Reference {
    probe_ids: Vec<i64>,
    probe_last_logits_top10: Vec<(i64, f32)>,
    merged_q_proj0_first8: Vec<f32>,
}

#[test]
fn adapters_of_a_real_run_of_peft_give_its_logits_from_either_file() {
    let shared = crates().join("../../shared/data");
    if !shared.is_dir() {
        eprintln!("skipped: ../shared/data is absent");
        return;
    }
    let base_dir = shared.join("models/stories15M-hf");
    let run = shared.join("peft-golden-stories15M");
    let text = std::fs::read(run.join("golden.json")).unwrap();
    let reference: Reference = serde_json::from_slice(&text).unwrap();
    let (ids, expected): (Vec<i64>, Vec<f32>) = reference.probe_last_logits_top10.into_iter().unzip();
    for adapter in ["adapter_final", "adapter_final_bin"] {
        let (mut model, adapters) = adapted(&base_dir, &run.join(adapter));
        assert_eq!(adapters.layers().len(), 12);
        let ours = logits(&model, &reference.probe_ids);
        let last = ours.get(-1);
        let (_, top) = last.topk(10, -1, true, true);
        assert_eq!(Vec::<i64>::try_from(top).unwrap(), ids, "{adapter}");
        let actual = last.index_select(0, &Tensor::from_slice(&ids));
        assert!(max_difference(&actual, &Tensor::from_slice(&expected)) < TOLERANCE, "{adapter}");
        let merged = logits(&merged(&base_dir, &adapters), &reference.probe_ids);
        assert!(max_difference(&ours, &merged) < TOLERANCE, "{adapter}, merged");
        let mut first = None;
        model.visit_linears_mut(&mut |path, slot| {
            if path.as_str() == "model.layers.0.self_attn.q_proj" {
                first = Some(slot.get().dense_weight(Kind::Float).unwrap().flatten(0, -1).narrow(0, 0, 8));
            }
        });
        let difference =
            max_difference(&first.unwrap(), &Tensor::from_slice(&reference.merged_q_proj0_first8));
        assert!(difference < 1e-6, "{adapter}, merged weight: {difference}");
    }
}
