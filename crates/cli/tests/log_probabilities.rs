//! Log-probabilities and dumped logits are those of transformers.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};

use infer::{BatchEvent, Batcher, BoxError, GenerateConfig, Request, TokenLogprob, TokenText};
use llama_finetune::write_logits;
use llama_model::{Llama, LlamaConfig};
use serde::Deserialize;
use tch::{Device, Kind, Tensor};
use weights::{CheckpointSource, TensorStore};

/// Tolerance of logits up to about 10 in size: a few hundred roundings of float32 in another order.
const TOLERANCE: f64 = 1e-4;

/// `golden.json` of a model of `crates/llama-model/tests/goldens`.
#[derive(Deserialize)]
struct Golden {
    input_ids: Vec<i64>,
    logits: Vec<Vec<f32>>,
}

struct NoText;

impl TokenText for NoText {
    fn decode(&self, _: &[i64]) -> Result<String, BoxError> {
        Ok(String::new())
    }
}

fn dir(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../llama-model/tests/goldens").join(name)
}

/// A model, its tokens, and transformers' logits at them, `[T, V]`.
fn golden(name: &str) -> (Llama, Vec<i64>, Tensor) {
    let store = TensorStore::open(&dir(name)).unwrap();
    let source = CheckpointSource::new(&store, Device::Cpu, Some(Kind::Float));
    let model = Llama::load(&LlamaConfig::from_dir(&dir(name)).unwrap(), &source).unwrap();
    let golden: Golden =
        serde_json::from_slice(&std::fs::read(dir(name).join("golden.json")).unwrap()).unwrap();
    let rows: Vec<Tensor> = golden.logits.iter().map(|row| Tensor::from_slice(row)).collect();
    (model, golden.input_ids, Tensor::stack(&rows, 0))
}

fn scored(model: &Llama, prompt: &[i64], max_new_tokens: usize) -> Vec<TokenLogprob> {
    let mut batcher = Batcher::new(model, &NoText, 1, prompt.len() + 1).unwrap();
    let config = GenerateConfig {
        max_new_tokens,
        logprobs: Some(3),
        prompt_logprobs: true,
        ..GenerateConfig::default()
    };
    batcher.add(Request { prompt: prompt.to_vec(), config }).unwrap();
    let mut scored = Vec::new();
    while !batcher.is_idle() {
        for event in batcher.step() {
            match event {
                BatchEvent::Token { logprobs, .. } => scored.extend(logprobs),
                BatchEvent::Failed { error, .. } => panic!("{error}"),
                BatchEvent::Finished { .. } => {}
            }
        }
    }
    scored
}

#[test]
fn log_probabilities_of_prompt_and_answer_are_those_of_transformers() {
    for name in ["llama1", "llama3", "qwen2"] {
        let (model, ids, logits) = golden(name);
        let expected = logits.log_softmax(-1, Kind::Double); // [T, V]
        for max_new_tokens in [0, 1] {
            let scored = scored(&model, &ids, max_new_tokens);
            assert_eq!(scored.len(), ids.len() + max_new_tokens);
            assert_eq!((scored[0].id, scored[0].logprob), (ids[0], None));
            for (place, token) in scored.iter().enumerate().skip(1) {
                let row = expected.get(place as i64 - 1);
                let near = |id: i64, logprob: f32| {
                    assert!(
                        (row.double_value(&[id]) - f64::from(logprob)).abs() < TOLERANCE,
                        "{name} {place} {id}"
                    );
                };
                near(token.id, token.logprob.unwrap());
                assert!(place >= ids.len() || token.id == ids[place]);
                assert_eq!(token.top.len(), 3);
                token.top.iter().for_each(|&(id, logprob)| near(id, logprob));
                let best = row.max().double_value(&[]);
                assert!((best - f64::from(token.top[0].1)).abs() < TOLERANCE, "{name} {place}");
            }
        }
    }
}

#[test]
fn dumped_logits_are_those_of_transformers() {
    let (model, ids, logits) = golden("llama3");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("logits.safetensors");
    let texts = [ids[..7].to_vec(), ids.clone()];
    write_logits(&model, &texts, &path).unwrap();
    let tensors = Tensor::read_safetensors(&path).unwrap();
    let read = |name: &str| &tensors.iter().find(|(other, _)| other == name).unwrap().1;
    for (index, ids) in texts.iter().enumerate() {
        assert_eq!(Vec::<i64>::try_from(read(&format!("input_ids.{index}"))).unwrap(), *ids);
        let expected = logits.narrow(0, 0, ids.len() as i64);
        let off = (read(&format!("logits.{index}")) - expected).abs().max().double_value(&[]);
        assert!(off < TOLERANCE, "{index}: {off}");
    }
}
