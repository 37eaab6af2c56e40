//! A micro-batch that several threads share has the loss and the gradient of the whole.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use llama_finetune::{
    Base, Device, Dtype, FullModel, Kind, LoraConfig, LoraModel, Quantization, TargetModules, TrainConfig,
    Trainable,
};
use llama_model::RandomSource;
use nn_core::{IGNORE_INDEX, TokenBatch};
use trainer::{Optimizer, StepOutcome, StepSettings, StopFlag, optimizer_step};

/// Loss and gradient norm: float32 sums in another order, over three steps that build on each other.
const TOLERANCE: f64 = 2e-5;

fn base() -> Base {
    Base::open(concat!(env!("CARGO_MANIFEST_DIR"), "/../../datasets/tiny-llama")).unwrap()
}

/// Texts of different lengths, of which the first tokens are no targets.
fn batch() -> TokenBatch {
    let text = |index: i64| -> (Vec<i64>, Vec<i64>) {
        let ids: Vec<i64> = (0..20 + 7 * index).map(|place| 5 + (place * place + index) % 90).collect();
        let labels = ids.iter().enumerate().map(|(at, &id)| if at < 6 { IGNORE_INDEX } else { id });
        (ids.clone(), labels.collect())
    };
    let texts: Vec<_> = (0..6).map(text).collect();
    TokenBatch::from_sequences(texts.iter().map(|(ids, labels)| (&ids[..], &labels[..])))
}

/// Returns loss and gradient norm of three steps on this many threads.
fn steps(model: &dyn Trainable, threads: i32) -> Vec<(f64, f64)> {
    tch::set_num_threads(threads);
    let mut optimizer = Optimizer::from_config(model.parameters(), &TrainConfig::default()).unwrap();
    let settings = StepSettings {
        seed: 3,
        learning_rate: 1e-3,
        max_grad_norm: 1.0,
        time_phases: false,
        loss_scale: 1.0,
    };
    let step = |_| match optimizer_step(model, &mut optimizer, &[batch()], &settings, &StopFlag::new()) {
        Ok(StepOutcome::Updated(stats)) => (stats.loss, stats.grad_norm),
        other => panic!("{other:?}"),
    };
    (0..3).map(step).collect()
}

/// Makes a model anew.
type Load<'a> = &'a dyn Fn() -> Box<dyn Trainable>;

fn lora(model: llama_finetune::Llama) -> LoraModel {
    let targets = ["q_proj", "v_proj", "down_proj", "lm_head"].map(str::to_owned).to_vec();
    let config = LoraConfig {
        lora_dropout: 0.0,
        target_modules: Some(TargetModules::Names(targets)),
        modules_to_save: Some(vec!["norm".to_owned()]),
        ..LoraConfig::default()
    };
    LoraModel::attach(model, &config).unwrap()
}

#[test]
fn parts_have_the_loss_and_the_gradient_of_the_whole() {
    let load = || base().load(Device::Cpu, Dtype::Float32).unwrap();
    let models: [(&str, Load<'_>); 4] = [
        ("lora", &|| Box::new(lora(load()))),
        ("checkpointing", &|| {
            let mut model = load();
            model.set_gradient_checkpointing(true);
            Box::new(lora(model))
        }),
        ("nf4", &|| {
            let nf4 = Quantization::from_flags("nf4", true).unwrap();
            Box::new(lora(base().load_quantized(Device::Cpu, Dtype::Float32, nf4).unwrap()))
        }),
        ("full", &|| {
            let source = RandomSource { seed: 1, std: 0.02, device: Device::Cpu, kind: Kind::Float };
            Box::new(FullModel::load(load().config(), source).unwrap())
        }),
    ];
    let threads = tch::get_num_threads();
    for (name, model) in models {
        let (whole, parts) = (steps(&*model(), 1), steps(&*model(), 2));
        let (three, wide) = (steps(&*model(), 3), steps(&*model(), 4));
        for others in [parts, three, wide] {
            for ((loss, norm), (other_loss, other_norm)) in whole.iter().zip(&others) {
                assert!((loss - other_loss).abs() < TOLERANCE * loss, "{name}: {whole:?} {others:?}");
                assert!((norm - other_norm).abs() < TOLERANCE * norm, "{name}: {whole:?} {others:?}");
            }
        }
    }
    tch::set_num_threads(threads);
}

#[test]
fn parts_give_the_same_bits_again() {
    let model = || lora(base().load(Device::Cpu, Dtype::Float32).unwrap());
    assert_eq!(steps(&model(), 2), steps(&model(), 2));
}
