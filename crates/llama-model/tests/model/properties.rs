//! Properties of every model, whatever its weights.

use crate::common::{MODELS, golden, goldens, load, logits, max_difference, stored, trainable, unlabelled};
use llama_model::{Llama, LlamaConfig, RandomSource, RopeScaling};
use nn_core::{IGNORE_INDEX, Mode, TokenBatch};
use tch::{Device, Kind, Tensor};
use weights::{CheckpointSource, TensorStore};

/// The same sums in another order, in float32, of logits up to about 10.
const SAME: f64 = 2e-5;

fn sequences() -> Vec<Vec<i64>> {
    vec![vec![1, 5, 9, 30, 7, 7, 41], vec![1, 44], vec![1, 3, 3, 12, 19]]
}

#[test]
fn a_sequence_gets_in_a_batch_what_it_gets_alone() {
    let even = vec![vec![1, 5, 9], vec![2, 44, 4], vec![8, 3, 3]];
    for name in MODELS {
        let model = stored(name);
        for batch in [sequences(), even.clone()] {
            let together = logits(&model, &batch);
            let alone: Vec<Tensor> =
                batch.iter().map(|ids| logits(&model, std::slice::from_ref(ids))).collect();
            let difference = max_difference(&together, &Tensor::cat(&alone, 0));
            assert!(difference < SAME, "{name}: {difference}");
        }
    }
}

#[test]
fn no_token_sees_a_later_one() {
    let ids = golden("llama3").input_ids;
    let mut changed = ids.clone();
    changed[10] = (ids[10] + 1) % 48;
    let model = stored("llama3");
    let (before, after) = (logits(&model, &[ids]), logits(&model, &[changed]));
    assert!(max_difference(&before.narrow(0, 0, 10), &after.narrow(0, 0, 10)) < SAME);
    assert!(max_difference(&before.narrow(0, 10, 1), &after.narrow(0, 10, 1)) > 1e-2);
}

#[test]
fn the_loss_is_the_negative_log_probability_of_the_labels() {
    let sequences = sequences();
    let mut labels = sequences.clone();
    labels[0][..3].fill(IGNORE_INDEX);
    labels[2][4] = IGNORE_INDEX;
    let batch =
        TokenBatch::from_sequences(sequences.iter().map(Vec::as_slice).zip(labels.iter().map(Vec::as_slice)));
    for name in MODELS {
        let model = stored(name);
        let mut expected = 0.0;
        for (ids, labels) in sequences.iter().zip(&labels) {
            let log_probabilities = logits(&model, std::slice::from_ref(ids)).log_softmax(-1, Kind::Double);
            for (position, &label) in labels.iter().enumerate().skip(1) {
                if label != IGNORE_INDEX {
                    expected -= log_probabilities.double_value(&[position as i64 - 1, label]);
                }
            }
        }
        let loss = model.loss_sum(&batch, Mode::Eval).unwrap().double_value(&[]);
        assert!((loss - expected).abs() < 1e-5 * expected, "{name}: {loss}, expected {expected}");
    }
}

#[test]
fn gradient_checkpointing_changes_no_loss_and_no_gradient() {
    let sequences = sequences();
    let batch = TokenBatch::from_sequences(sequences.iter().map(|ids| (ids.as_slice(), ids.as_slice())));
    for name in MODELS {
        let gradients = |on: bool| {
            let (mut model, parameters) = trainable(name);
            model.set_gradient_checkpointing(on);
            let loss = model.loss_sum(&batch, Mode::Train { seed: 5 }).unwrap();
            loss.backward();
            (loss.double_value(&[]), parameters.into_iter().map(|(_, p)| p.grad()).collect::<Vec<_>>())
        };
        let ((plain_loss, plain), (loss, recomputed)) = (gradients(false), gradients(true));
        assert_eq!(loss.to_bits(), plain_loss.to_bits(), "{name}");
        for (plain, recomputed) in plain.iter().zip(&recomputed) {
            assert!(plain.norm().double_value(&[]) > 0.0);
            assert_eq!(plain, recomputed, "{name}");
        }
    }
}

/// Relative to the largest logit, sixteen roundings: bfloat16 keeps 8 significant bits, float16 keeps 11.
const HALF_PRECISION: [(Kind, f64); 2] = [(Kind::BFloat16, 16.0 / 256.0), (Kind::Half, 16.0 / 2048.0)];

#[test]
fn half_precision_stays_near_float32() {
    for (kind, tolerance) in HALF_PRECISION {
        for name in MODELS {
            let golden = golden(name);
            let model = load(&goldens().join(name), kind);
            assert_eq!(model.kind(), kind);
            let ids = [golden.input_ids];
            let exact = logits(&stored(name), &ids);
            let largest = exact.abs().max().double_value(&[]);
            let difference = max_difference(&logits(&model, &ids), &exact) / largest;
            assert!(difference > 0.0 && difference < tolerance, "{name} in {kind:?}: {difference}");
        }
    }
}

#[test]
fn only_a_factor_other_than_one_stretches_positions() {
    let dir = goldens().join("tied_linear");
    let store = TensorStore::open(&dir).unwrap();
    let with = |rope_scaling| {
        let config = LlamaConfig { rope_scaling, ..LlamaConfig::from_dir(&dir).unwrap() };
        Llama::load(&config, &CheckpointSource::new(&store, Device::Cpu, Some(Kind::Float))).unwrap()
    };
    let linear = |factor| Some(RopeScaling::Linear { factor });
    let ids = [golden("tied_linear").input_ids];
    let plain = logits(&with(None), &ids);
    assert_eq!(plain, logits(&with(linear(1.0)), &ids));
    assert!(max_difference(&plain, &logits(&with(linear(4.0)), &ids)) > 1e-2);
}

#[test]
fn a_token_outside_the_vocabulary_is_named() {
    let model = stored("llama1");
    for id in [48, -1] {
        let error = model.hidden_states(&unlabelled(&[vec![1, id]]), Mode::Eval).unwrap_err();
        assert_eq!(error.to_string(), format!("token id {id} is outside the vocabulary of 48"));
    }
}

#[test]
fn a_tensor_of_another_shape_is_named_with_both_shapes() {
    let dir = goldens().join("llama1");
    let store = TensorStore::open(&dir).unwrap();
    let mut config = LlamaConfig::from_dir(&dir).unwrap();
    config.intermediate_size = 41;
    let error = Llama::load(&config, &CheckpointSource::new(&store, Device::Cpu, None)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`model.layers.0.mlp.gate_proj.weight` has shape [40, 32], but the configuration asks for [41, 32]"
    );
}

#[test]
fn the_first_weight_that_is_no_number_is_named() {
    for name in MODELS {
        assert_eq!(stored(name).find_not_finite().unwrap(), None, "{name}");
        let (model, parameters) = trainable(name);
        // From the last to the first, so that each is the first that is bad.
        let order = model.config().tensor_shapes();
        for (weight, _) in order.iter().rev() {
            let (_, tensor) = parameters.iter().find(|(known, _)| known == weight).unwrap();
            let _ = tch::no_grad(|| tensor.view([-1]).get(1).fill_(f64::NAN));
        }
        let mut left: Vec<String> = order.into_iter().map(|(weight, _)| weight).collect();
        while let Some(found) = model.find_not_finite().unwrap() {
            let place = left.iter().position(|weight| *weight == found).unwrap_or_else(|| panic!("{found}"));
            left.remove(place);
            let (_, tensor) = parameters.iter().find(|(known, _)| *known == found).unwrap();
            let _ = tch::no_grad(|| tensor.shallow_clone().fill_(0.0));
        }
        assert_eq!(left, [""; 0], "{name}");
    }
}

#[test]
fn texts_are_longer_where_their_context_is_stretched() {
    let of = |rope_scaling| LlamaConfig {
        rope_scaling,
        max_position_embeddings: 100,
        ..LlamaConfig::new(48, 32, 40, 2, 4)
    };
    let linear = RopeScaling::Linear { factor: 4.0 };
    let dynamic = RopeScaling::Dynamic { factor: 2.5 };
    for (scaling, expected) in [
        (None, 100),
        (Some(linear), 100),
        (Some(dynamic), 250),
        (Some(RopeScaling::yarn(4.0, 50)), 200),
        (Some(RopeScaling::yarn(1.0, 50)), 100),
    ] {
        assert_eq!(of(scaling.clone()).context_len(), expected, "{scaling:?}");
    }
}

#[test]
fn random_weights_depend_on_the_seed_and_nothing_else() {
    let config = LlamaConfig::new(48, 32, 40, 2, 4);
    let model = |seed| {
        let source = RandomSource { seed, std: 0.3, device: Device::Cpu, kind: Kind::Float };
        logits(&Llama::load(&config, &source).unwrap(), &sequences())
    };
    assert_eq!(model(1), model(1));
    assert!(max_difference(&model(1), &model(2)) > 1e-2);
}
