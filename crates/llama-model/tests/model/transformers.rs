//! Equal to transformers, on the two-layer models of `goldens/make.py` and on two trained ones.

use std::collections::BTreeMap;
use std::path::Path;

use crate::common::{MODELS, golden, goldens, load, logits, matrix, max_difference, stored, trainable};
use llama_model::{CONFIG_KEYS, FAMILIES, LlamaConfig};
use nn_core::{CausalLm, Mode, TokenBatch};
use serde::Deserialize;
use tch::{Kind, Tensor};
use weights::TensorStore;

/// For logits up to about 10 in size: a few hundred roundings of float32 in another order.
const TOLERANCE: f64 = 1e-4;

#[test]
fn logits_of_every_family_equal_transformers() {
    for name in MODELS {
        let golden = golden(name);
        let difference = max_difference(&logits(&stored(name), &[golden.input_ids]), &matrix(&golden.logits));
        assert!(difference < TOLERANCE, "{name}: {difference}");
    }
}

#[test]
fn greedy_tokens_of_every_family_equal_transformers() {
    for name in MODELS {
        let golden = golden(name);
        let mut text = golden.input_ids[..6].to_vec();
        let model = stored(name);
        let mut session = model.open(1, golden.greedy.len()).unwrap();
        let mut logits = session.prefill(&[(0, &text)]).unwrap();
        while text.len() < golden.greedy.len() {
            let token = logits.argmax(-1, false).int64_value(&[0]);
            text.push(token);
            logits = session.step(&[(0, token)]).unwrap();
        }
        assert_eq!(text, golden.greedy, "{name}");
    }
}

#[test]
fn every_family_has_a_model_of_transformers() {
    let configs = MODELS.map(|name| LlamaConfig::from_dir(&goldens().join(name)).unwrap());
    for family in FAMILIES {
        assert!(configs.iter().any(|config| config.family == *family), "{family:?}");
    }
}

#[test]
fn every_key_of_transformers_configurations_stands_in_the_table() {
    let text = std::fs::read_to_string(goldens().join("config_keys.json")).unwrap();
    for (class, keys) in serde_json::from_str::<BTreeMap<String, Vec<String>>>(&text).unwrap() {
        assert!(keys.len() > 50, "{class}");
        for key in keys {
            assert!(CONFIG_KEYS.iter().any(|(known, _)| *known == key), "{class}: {key}");
        }
    }
}

#[test]
fn logits_far_into_a_text_equal_transformers() {
    for name in MODELS {
        let golden = golden(name);
        let logits = logits(&stored(name), &[golden.long_input_ids]);
        let last = logits.narrow(0, logits.size()[0] - 2, 2);
        let difference = max_difference(&last, &matrix(&golden.long_last_logits));
        assert!(difference < TOLERANCE, "{name}: {difference}");
    }
}

/// Dynamic NTK rotates each new token by the length that the text has then, and leaves the keys before it as they are.
#[test]
fn a_text_that_is_continued_beyond_the_context_equals_transformers() {
    for name in MODELS {
        let golden = golden(name);
        let (prompt, rest) = golden.continued_input_ids.split_at(golden.continued_from);
        let model = stored(name);
        let mut session = model.open(1, golden.continued_input_ids.len()).unwrap();
        let mut rows = vec![session.prefill(&[(0, prompt)]).unwrap()];
        rows.extend(rest.iter().map(|&token| session.step(&[(0, token)]).unwrap()));
        let difference = max_difference(&Tensor::cat(&rows, 0), &matrix(&golden.continued_logits));
        assert!(difference < TOLERANCE, "{name}: {difference}");
    }
}

#[test]
fn a_prompt_beyond_the_context_is_read_as_a_whole_text() {
    for name in MODELS {
        let golden = golden(name);
        let model = stored(name);
        let mut session = model.open(2, golden.long_input_ids.len()).unwrap();
        let prompts: [(usize, &[i64]); 2] = [(1, &golden.input_ids), (0, &golden.long_input_ids)];
        let actual = session.prefill(&prompts).unwrap();
        let last = |rows: &[Vec<f32>]| matrix(&rows[rows.len() - 1..]);
        let expected = Tensor::cat(&[last(&golden.logits), last(&golden.long_last_logits)], 0);
        let difference = max_difference(&actual, &expected);
        assert!(difference < TOLERANCE, "{name}: {difference}");
    }
}

#[test]
fn loss_and_gradients_of_every_parameter_equal_transformers() {
    for name in MODELS {
        let golden = golden(name);
        let (model, parameters) = trainable(name);
        let batch = TokenBatch::from_sequences([(golden.input_ids.as_slice(), golden.labels.as_slice())]);
        let loss = model.loss_sum(&batch, Mode::Train { seed: 0 }).unwrap();
        assert!((loss.double_value(&[]) - golden.loss_sum).abs() < TOLERANCE, "{name}: {loss:?}");
        loss.backward();
        assert_eq!(parameters.len(), golden.gradient_norms.len(), "{name}");
        for (parameter, tensor) in &parameters {
            let (actual, expected) =
                (tensor.grad().norm().double_value(&[]), golden.gradient_norms[parameter]);
            let relative = (actual - expected).abs() / expected;
            assert!(relative < TOLERANCE, "{name}: {parameter}: {actual}, expected {expected}");
        }
    }
}

#[test]
fn a_configuration_names_every_tensor_of_its_checkpoint_and_no_other() {
    for name in MODELS {
        let dir = goldens().join(name);
        let store = TensorStore::open(&dir).unwrap();
        let in_file: BTreeMap<String, Vec<i64>> =
            store.names().map(|name| (name.to_owned(), store.info(name).unwrap().shape)).collect();
        let expected: BTreeMap<_, _> =
            LlamaConfig::from_dir(&dir).unwrap().tensor_shapes().into_iter().collect();
        assert_eq!(in_file, expected, "{name}");
    }
}

/// One model of `goldens/stories.json`.
#[derive(Deserialize)]
struct Story {
    input_ids: Vec<i64>,
    argmax: Vec<i64>,
    last_top: Vec<(i64, f32)>,
    last_first: Vec<f32>,
    middle_first: Vec<f32>,
}

#[test]
fn logits_of_trained_models_equal_transformers() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/models");
    if !shared.is_dir() {
        eprintln!("skipped: ../shared/data/models is absent");
        return;
    }
    let text = std::fs::read_to_string(goldens().join("stories.json")).unwrap();
    for (name, story) in serde_json::from_str::<BTreeMap<String, Story>>(&text).unwrap() {
        let logits = logits(&load(&shared.join(&name), Kind::Float), std::slice::from_ref(&story.input_ids));
        assert_eq!(Vec::<i64>::try_from(logits.argmax(-1, false)).unwrap(), story.argmax, "{name}");
        let rows = logits.size()[0];
        let (ids, top): (Vec<i64>, Vec<f32>) = story.last_top.into_iter().unzip();
        let last = logits.get(rows - 1);
        for (actual, expected) in [
            (last.index_select(0, &Tensor::from_slice(&ids)), top),
            (last.narrow(0, 0, 8), story.last_first),
            (logits.get(rows / 2).narrow(0, 0, 8), story.middle_first),
        ] {
            let difference = max_difference(&actual, &Tensor::from_slice(&expected));
            assert!(difference < TOLERANCE, "{name}: {difference}");
        }
    }
}
