//! Adapters of real PEFT for heads, embeddings, norms, biases and other bases: its logits, and merging into every form.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use checkpoint::{AdapterDir, Base, FORMATS, MergeConfig, Precision};
use llama_model::Llama;
use lora::{LoraAdapters, LoraConfig};
use nn_core::{Dtype, IGNORE_INDEX, LinearSource, Mode, TokenBatch, UnknownSettings};
use qlora_nf4::Quantization;
use serde::Deserialize;
use tch::{Device, Kind, Tensor};
use weights::TensorStore;

/// Tolerance of logits up to about 10 in size: a few hundred roundings of float32 in another order.
const TOLERANCE: f64 = 1e-4;

/// `golden.json` of `crates/lora/tests/goldens/make_modules.py`.
#[derive(Deserialize)]
struct Golden {
    base: String,
    input_ids: Vec<i64>,
    logits: Vec<Vec<f32>>,
    #[serde(default)]
    batch: Vec<Vec<i64>>,
    /// Before each step of gradient descent over `batch`.
    #[serde(default)]
    losses: Vec<f64>,
}

const ADAPTERS: [&str; 15] = [
    "head",
    "saved",
    "tied_head",
    "tied_embedding",
    "tied_saved",
    "resized",
    "tied_resized",
    "tokens",
    "tied_tokens",
    "biases",
    "biases_of_lora",
    "pissa",
    "olora",
    "look_ahead",
    "second_layer",
];

fn crates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn adapter_dir(name: &str) -> PathBuf {
    crates().join("lora/tests/goldens").join(name)
}

fn golden(name: &str) -> Golden {
    serde_json::from_slice(&std::fs::read(adapter_dir(name).join("golden.json")).unwrap()).unwrap()
}

fn open(path: &Path) -> Base {
    Base::open(path.to_str().unwrap()).unwrap()
}

fn base(golden: &Golden) -> Base {
    open(&crates().join("llama-model/tests/goldens").join(&golden.base))
}

fn load(base: &Base) -> Llama {
    base.load(Device::Cpu, Dtype::Float32).unwrap()
}

/// `[T, V]`
fn logits(model: &Llama, ids: &[i64]) -> Tensor {
    let labels = vec![IGNORE_INDEX; ids.len()];
    let batch = TokenBatch::from_sequences([(ids, labels.as_slice())]);
    tch::no_grad(|| model.logits(&model.hidden_states(&batch, Mode::Eval).unwrap()).unwrap())
}

fn expected(golden: &Golden) -> Tensor {
    Tensor::from_slice(&golden.logits.concat()).view([golden.logits.len() as i64, -1])
}

fn max_difference(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    (a - b).abs().max().double_value(&[])
}

#[test]
fn logits_with_adapters_of_peft_equal_those_of_peft() {
    for name in ADAPTERS {
        let golden = golden(name);
        let mut model = load(&base(&golden));
        let before = logits(&model, &golden.input_ids[..3]);
        LoraAdapters::load(&mut model, &adapter_dir(name)).unwrap();
        assert_eq!(model.config().vocab_size, golden.logits[0].len() as i64, "{name}");
        let ours = logits(&model, &golden.input_ids);
        let difference = max_difference(&ours, &expected(&golden));
        assert!(difference < TOLERANCE, "{name}: {difference}");
        let after = logits(&model, &golden.input_ids[..3]).narrow(1, 0, before.size()[1]);
        assert!(max_difference(&after, &before) > 0.05, "{name} does nothing");
    }
}

#[test]
fn every_form_of_a_merged_model_computes_what_peft_does() {
    for name in ADAPTERS {
        let golden = golden(name);
        let base = base(&golden);
        for format in FORMATS {
            // Those bases have no tokenizer, which a GGUF file holds, and a width of heads that Meta's form has no setting for.
            if ["gguf", "state-dict"].contains(&format.name()) {
                continue;
            }
            let parent = tempfile::tempdir().unwrap();
            let out = parent.path().join("merged");
            let config = MergeConfig {
                format: *format,
                precision: Precision::Of(Kind::Float),
                ..MergeConfig::default()
            };
            base.merge(&[AdapterDir::new(adapter_dir(name))], config, &out).unwrap();
            let merged = load(&open(&out));
            let difference = max_difference(&logits(&merged, &golden.input_ids), &expected(&golden));
            assert!(difference < TOLERANCE, "{name} as {}: {difference}", format.name());
            if format.name() == "hf" {
                let text = std::fs::read_to_string(out.join("config.json")).unwrap();
                let config: serde_json::Value = serde_json::from_str(&text).unwrap();
                let unties = ["tied_head", "tied_embedding", "tied_saved"].contains(&name);
                let is_tied = base.config.tie_word_embeddings && !unties;
                assert_eq!(config["tie_word_embeddings"], is_tied, "{name}");
                assert_eq!(config["vocab_size"], golden.logits[0].len(), "{name}");
            }
        }
    }
}

/// What they took out of the base cannot be found in rounded weights; peft refuses that too (`pissa_init`).
#[test]
fn adapters_over_a_part_of_the_base_are_refused_over_a_quantised_one() {
    let refused = |outcome: Result<(), String>, what: &str| {
        let error = outcome.unwrap_err();
        assert!(error.contains("`init_lora_weights`") && error.contains("quantised"), "{what}: {error}");
    };
    let quantization = Quantization::from_flags("nf4", false).unwrap();
    for name in ["pissa", "olora"] {
        let base = base(&golden(name));
        let dir = tempfile::tempdir().unwrap();
        let attach = |mut model: Llama| {
            let loaded = LoraAdapters::load(&mut model, &adapter_dir(name));
            loaded.map(|_| ()).map_err(|error| error.to_string())
        };
        let merge = |base: &Base, base_quantization| {
            let config = MergeConfig { base_quantization, ..MergeConfig::default() };
            let out = dir.path().join("merged");
            let merged = base.merge(&[AdapterDir::new(adapter_dir(name))], config, &out);
            merged.map(|_| ()).map_err(|error| format!("{}", anyhow::Error::from(error).root_cause()))
        };
        refused(
            attach(base.load_quantized(Device::Cpu, Dtype::Float32, quantization).unwrap()),
            "while loading",
        );
        refused(merge(&base, quantization), "merged, while loading");
        let on_disk = dir.path().join("nf4");
        let config = MergeConfig { quantization, ..MergeConfig::default() };
        base.merge(&[], config, &on_disk).unwrap();
        let on_disk = open(&on_disk);
        refused(attach(load(&on_disk)), "on disk");
        refused(merge(&on_disk, None), "merged, on disk");
        attach(load(&base)).unwrap();
    }
}

#[test]
fn what_is_saved_again_is_the_same_adapter() {
    for name in ADAPTERS {
        let golden = golden(name);
        let mut model = load(&base(&golden));
        let adapters = LoraAdapters::load(&mut model, &adapter_dir(name)).unwrap();
        let dir = tempfile::tempdir().unwrap();
        adapters.save(dir.path()).unwrap();
        // PEFT passes over what it has no name for. Of a tied pair it writes one half, and knows both.
        let halves = ["model.embed_tokens", "lm_head"].map(|half| format!("base_model.model.{half}.weight"));
        let mut own = &tensor_names(dir.path()) - &tensor_names(&adapter_dir(name));
        own.retain(|tensor| !(base(&golden).config.tie_word_embeddings && halves.contains(tensor)));
        assert!(own.is_empty(), "{name}: PEFT writes no {own:?}");
        let mut again = load(&base(&golden));
        LoraAdapters::load(&mut again, dir.path()).unwrap();
        let ours = logits(&again, &golden.input_ids);
        let difference = max_difference(&ours, &expected(&golden));
        assert!(difference < TOLERANCE, "{name}: {difference}");
        keep(&adapters, name, &golden.base, &golden.input_ids, &ours);
    }
}

fn tensor_names(adapter: &Path) -> BTreeSet<String> {
    let store = TensorStore::open_file(&adapter.join("adapter_model.safetensors")).unwrap();
    store.names().map(str::to_owned).collect()
}

/// With `LORA_KEEP_SAVED=DIRECTORY` in the environment, what is saved here stays, for
/// `crates/lora/tests/goldens/check_with_peft.py`.
fn keep(adapters: &LoraAdapters, name: &str, base: &str, ids: &[i64], logits: &Tensor) {
    let Some(kept) = std::env::var_os("LORA_KEEP_SAVED") else { return };
    let dir = PathBuf::from(kept).join(name);
    std::fs::create_dir_all(&dir).unwrap();
    adapters.save(&dir).unwrap();
    let rows: Vec<Vec<f32>> = Vec::try_from(logits).unwrap();
    let text = serde_json::json!({"base": base, "input_ids": ids, "logits": rows}).to_string();
    std::fs::write(dir.join("logits.json"), text).unwrap();
}

/// Copies of the base's embedding and head, as peft writes them beside an adapter (`save_embedding_layers=True`), are no
/// obstacle to a run that starts there; those of another base are.
#[test]
fn a_run_starts_from_an_adapter_with_copies_of_its_base_and_of_no_other() {
    let base = open(&crates().join("llama-model/tests/goldens/llama3"));
    let config = LoraConfig { r: 3, lora_alpha: 5.0, ..LoraConfig::default() };
    let mut model = load(&base);
    let adapters = LoraAdapters::attach(&mut model, &config, 1).unwrap();
    let dir = tempfile::tempdir().unwrap();
    adapters.save(dir.path()).unwrap();
    let source = base.source(Device::Cpu, None).unwrap();
    let shape = [base.config.vocab_size, base.config.hidden_size];
    let copy = |name: &str| source.tensor(&format!("{name}.weight"), &shape).unwrap();
    let write = |embedding: &Tensor| {
        let saved = adapters.parameters();
        let copies = [("model.embed_tokens", embedding.copy()), ("lm_head", copy("lm_head"))];
        let copies = copies.map(|(name, tensor)| (format!("base_model.model.{name}.weight"), tensor));
        let named: Vec<(String, &Tensor)> =
            saved.iter().chain(&copies).map(|(name, tensor)| (name.clone(), tensor)).collect();
        let path = dir.path().join("adapter_model.safetensors");
        weights::write_safetensors(&path, &named, &weights::pt_metadata()).unwrap();
    };
    let embedding = copy("model.embed_tokens");
    for kind in [Kind::Float, Kind::BFloat16] {
        write(&embedding.to_kind(kind));
        let mut fresh = load(&base);
        let started = LoraAdapters::attach(&mut fresh, &config, 2).unwrap();
        started.start_from(&mut fresh, dir.path(), UnknownSettings::Refuse).unwrap();
        for ((name, ours), (_, theirs)) in started.parameters().iter().zip(adapters.parameters()) {
            assert_eq!(*ours, theirs, "{name}");
        }
    }
    let more_rows = Tensor::cat(&[&embedding, &embedding.narrow(0, 0, 1)], 0);
    for other in [&embedding + 0.1, more_rows] {
        write(&other);
        let started = adapters.start_from(&mut model, dir.path(), UnknownSettings::Refuse);
        let error = started.unwrap_err().to_string();
        assert!(error.contains("`base_model.model.model.embed_tokens.weight`"), "{error}");
        assert!(error.contains("modules_to_save"), "{error}");
    }
}

#[test]
fn losses_of_training_heads_embeddings_and_saved_modules_equal_those_of_peft() {
    const LEARNING_RATE: f64 = 0.3;
    // A rounding before the first step; steps of that size make three to five times as much of it each.
    const ROUNDING: f64 = 2e-6;
    for name in ["head", "saved"] {
        let golden = golden(name);
        let mut model = load(&base(&golden));
        let config = LoraConfig::from_dir(&adapter_dir(name)).unwrap();
        let adapters = LoraAdapters::attach(&mut model, &config, 0).unwrap();
        adapters.restore(&adapter_dir(name)).unwrap();
        let sequences = golden.batch.iter().map(|ids| (ids.as_slice(), ids.as_slice()));
        let batch = TokenBatch::from_sequences(sequences);
        for (seed, expected) in (0..).zip(&golden.losses) {
            let loss = model.loss_sum(&batch, Mode::Train { seed }).unwrap() / batch.num_targets() as f64;
            loss.backward();
            for (_, mut parameter) in adapters.parameters() {
                let mut gradient = parameter.grad();
                let _ = tch::no_grad(|| parameter.subtract_(&(&gradient * LEARNING_RATE)));
                let _ = gradient.zero_();
            }
            let loss = loss.double_value(&[]);
            let tolerance = ROUNDING * 4f64.powi(seed as i32);
            assert!((loss - expected).abs() < tolerance, "{name}, step {seed}: {loss}, PEFT {expected}");
        }
        assert_eq!(golden.losses.len(), 8);
    }
}

/// New rows for both halves of the vocabulary, tied and not: trained values come back from the file, and in the merged model.
#[test]
fn a_vocabulary_that_grew_is_saved_loaded_and_merged() {
    for (name, ensure_weight_tying) in [("llama3", false), ("tied_linear", true), ("tied_linear", false)] {
        let base = open(&crates().join("llama-model/tests/goldens").join(name));
        let saved = if ensure_weight_tying { &["embed_tokens"][..] } else { &["embed_tokens", "lm_head"] };
        let config = LoraConfig {
            r: 3,
            lora_alpha: 5.0,
            modules_to_save: Some(saved.iter().map(|&name| name.to_owned()).collect()),
            ensure_weight_tying,
            ..LoraConfig::default()
        };
        let mut model = load(&base);
        let adapters = LoraAdapters::attach_resized(&mut model, &config, 1, Some(53)).unwrap();
        tch::no_grad(|| {
            for (index, (_, mut parameter)) in adapters.parameters().into_iter().enumerate() {
                let count = Tensor::arange(parameter.numel() as i64, tch::kind::FLOAT_CPU) + index as f64;
                let _ = parameter.f_add_(&((count * 0.7).sin().view_as(&parameter) * 0.2)).unwrap();
            }
        });
        let ids = [1, 52, 7, 50, 3];
        let expected = logits(&model, &ids);
        assert_eq!(expected.size(), [5, 53]);
        let parent = tempfile::tempdir().unwrap();
        adapters.save(parent.path()).unwrap();
        adapters.verify_saved(parent.path()).unwrap();
        let mut again = load(&base);
        LoraAdapters::load(&mut again, parent.path()).unwrap();
        assert!(max_difference(&logits(&again, &ids), &expected) < 1e-5, "{name}");
        let out = parent.path().join("merged");
        let config = MergeConfig { precision: Precision::Of(Kind::Float), ..MergeConfig::default() };
        base.merge(&[AdapterDir::new(parent.path())], config, &out).unwrap();
        let merged = open(&out);
        assert_eq!(merged.config.tie_word_embeddings, ensure_weight_tying, "{name}");
        assert!(max_difference(&logits(&load(&merged), &ids), &expected) < TOLERANCE, "{name}");
        keep(&adapters, &format!("{name}_grown_{ensure_weight_tying}"), name, &ids, &expected);
    }
}
