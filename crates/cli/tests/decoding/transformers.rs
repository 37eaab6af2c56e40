//! Equal to transformers (`../goldens/make_generate.py`).

use std::collections::BTreeMap;

use crate::common::{Numbers, family, load, root, shown, trained};
use infer::{FinishReason, GenerateConfig, SamplingConfig, perplexity, windows};
use llama_model::Llama;
use llama_tokenizer::LlamaTokenizer;
use nn_core::Mode;
use serde::Deserialize;

#[derive(Deserialize)]
struct Goldens {
    families: BTreeMap<String, Case>,
    trained: BTreeMap<String, Case>,
    perplexity: Perplexity,
}

#[derive(Deserialize)]
struct Case {
    prompts: Vec<Vec<i64>>,
    continuations: Vec<Continuation>,
}

#[derive(Deserialize)]
struct Continuation {
    eos_ids: Vec<i64>,
    settings: Settings,
    answers: Vec<Vec<i64>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    num_beams: Option<usize>,
    length_penalty: Option<f64>,
    early_stopping: Option<bool>,
    repetition_penalty: Option<f64>,
}

#[derive(Deserialize)]
struct Perplexity {
    text: String,
    window: usize,
    stride: usize,
    tokens: usize,
    #[serde(rename = "perplexity")]
    value: f64,
}

fn goldens() -> Goldens {
    serde_json::from_slice(&std::fs::read(root().join("tests/goldens/generate.json")).unwrap()).unwrap()
}

/// Every continuation of a model, the prompts of each together.
fn check(name: &str, model: &Llama, case: &Case) {
    let mut ends = [0; 2];
    for Continuation { eos_ids, settings, answers } in &case.continuations {
        let config = GenerateConfig {
            max_new_tokens: 64,
            eos_ids: eos_ids.clone(),
            sampling: SamplingConfig {
                num_beams: settings.num_beams.unwrap_or(1),
                length_penalty: settings.length_penalty.unwrap_or(1.0),
                early_stopping: settings.early_stopping.unwrap_or(false),
                repetition_penalty: settings.repetition_penalty.unwrap_or(1.0),
                ..SamplingConfig::default()
            },
            ..GenerateConfig::default()
        };
        let (actual, _) = shown(model, &Numbers, &case.prompts, &config);
        for ((actual, expected), prompt) in actual.iter().zip(answers).zip(&case.prompts) {
            let end = expected.iter().position(|id| eos_ids.contains(id));
            let expected = &expected[..end.unwrap_or(expected.len())];
            assert_eq!(actual.ids, expected, "{name}: {settings:?}, eos {eos_ids:?}, {prompt:?}");
            let finish = if end.is_some() { FinishReason::Eos } else { FinishReason::Length };
            assert_eq!(actual.finish, finish, "{name}: {settings:?}, eos {eos_ids:?}, {prompt:?}");
            ends[usize::from(end.is_some())] += 1;
        }
    }
    assert!(ends[0] > 0, "{name}: no answer of full length");
}

#[test]
fn greedy_and_beam_continuations_of_every_family_equal_transformers() {
    let goldens = goldens();
    assert_eq!(goldens.families.len(), 4);
    for (name, case) in &goldens.families {
        check(name, &family(name), case);
    }
}

#[test]
fn greedy_and_beam_continuations_of_trained_models_equal_transformers() {
    for (name, case) in &goldens().trained {
        let Some(dir) = trained(name) else { return };
        check(name, &load(&dir), case);
    }
}

/// float32 sums of a hundred terms, and the golden's five digits.
const TOLERANCE: f64 = 1e-4;

#[test]
fn the_perplexity_of_a_text_equals_transformers() {
    let Some(dir) = trained("stories15M-hf") else { return };
    let Perplexity { text, window, stride, tokens, value: expected } = goldens().perplexity;
    let ids = LlamaTokenizer::from_dir(&dir).unwrap().encode(&text, true).unwrap();
    let model = load(&dir);
    let actual = perplexity(windows(&ids, window, stride).unwrap(), |batch| {
        tch::no_grad(|| Ok(model.loss_sum(batch, Mode::Eval)?.double_value(&[])))
    })
    .unwrap();
    assert_eq!(actual.tokens, tokens);
    assert!((actual.perplexity - expected).abs() < TOLERANCE * expected, "{actual:?}, expected {expected}");
}
