//! Greedy continuations of two trained models, equal to those of transformers (`goldens/make_greedy.py`).
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::path::Path;

use checkpoint::Base;
use infer::{GenerateConfig, greedy};
use nn_core::Dtype;
use serde::Deserialize;
use tch::Device;

#[derive(Deserialize)]
struct Continuation {
    prompt: String,
    prompt_ids: Vec<i64>,
    ids: Vec<i64>,
}

#[test]
fn greedy_continuations_equal_transformers_alone_and_in_a_batch() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shared = root.join("../../../shared/data/models");
    if !shared.is_dir() {
        eprintln!("skipped: ../shared/data/models is absent");
        return;
    }
    let goldens = std::fs::read(root.join("tests/goldens/greedy.json")).unwrap();
    let goldens: BTreeMap<String, Vec<Continuation>> = serde_json::from_slice(&goldens).unwrap();
    for (name, golden) in goldens {
        let base = Base::open(shared.join(&name).to_str().unwrap()).unwrap();
        let (tokenizer, model) = (base.tokenizer().unwrap(), base.load(Device::Cpu, Dtype::Float32).unwrap());
        let eos_ids = base.eos_ids(&tokenizer);
        let config = GenerateConfig { max_new_tokens: 48, eos_ids, ..GenerateConfig::default() };
        let prompts: Vec<Vec<i64>> =
            golden.iter().map(|each| tokenizer.encode(&each.prompt, true).unwrap()).collect();
        assert!(prompts.iter().eq(golden.iter().map(|each| &each.prompt_ids)), "{name}");
        assert_ne!(prompts[0].len(), prompts[1].len());
        let together = greedy(&model, &prompts, &config).unwrap();
        for ((continuation, prompt), in_batch) in golden.iter().zip(&prompts).zip(&together) {
            let expected: Vec<i64> =
                continuation.ids.iter().copied().take_while(|id| !config.eos_ids.contains(id)).collect();
            assert!(!expected.is_empty());
            let alone = greedy(&model, std::slice::from_ref(prompt), &config).unwrap();
            assert_eq!(alone[0], expected, "{name}: {}", continuation.prompt);
            assert_eq!(*in_batch, expected, "{name}, in a batch: {}", continuation.prompt);
        }
    }
}
