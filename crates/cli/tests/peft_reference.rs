//! Twenty steps of the real PEFT (0.17.1, torch 2.11.0, float32, CPU) on stories15M, repeated with these crates: the same
//! token ids, losses, gradient norms and adapter.
//!
//! The reference run pads on the left, as alpaca-lora does. There a sequence that is padded has one target more than its
//! own: BOS, predicted from the padding before it. That position attends to nothing, so its loss is the same for every
//! sequence and at every step, has no gradient, and only dilutes the mean. This project pads nothing and learns no such
//! thing; [`LeftPadded`] adds it, for the sake of the comparison and nowhere else.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::path::Path;

use alpaca_data::{BadRecords, Example, PromptTemplate, TokenizeConfig, load_records, tokenize_records};
use checkpoint::Base;
use llama_finetune::LoraModel;
use llama_model::Llama;
use lora::{LoraAdapters, LoraConfig};
use nn_core::{BoxError, Dtype, IGNORE_INDEX, LinearSource, Mode, NnError, TokenBatch, Trainable};
use serde::Deserialize;
use tch::{Device, Kind, Tensor, no_grad};
use trainer::{Optimizer, StepOutcome, StepSettings, StopFlag, TrainConfig, optimizer_step};
use weights::{CheckpointSource, TensorStore};

/// Mean loss of a step. Float32 sums in another order, over 20 steps that each build on the one before.
const LOSS: f64 = 1e-4;
/// Gradient norm of a step, relative.
const GRAD_NORM: f64 = 1e-3;
/// Any value of the final adapter: a tenth of one step of AdamW at a learning rate of 1e-3.
const ADAPTER: f64 = 1e-4;
/// A logit of the adapted model, of which the largest are near 8.
const LOGIT: f64 = 1e-3;

#[derive(Deserialize)]
struct Golden {
    hparams: Hyper,
    token_ids_first_8_records: Vec<Vec<i64>>,
    losses: Vec<f64>,
    grad_norms_before_clip: Vec<f64>,
    probe_ids: Vec<i64>,
    probe_last_logits_top10: Vec<(i64, f64)>,
    merged_q_proj0_first8: Vec<f64>,
}

#[derive(Deserialize)]
struct Hyper {
    r: i64,
    lora_alpha: f64,
    dropout: f64,
    lr: f64,
    betas: (f64, f64),
    eps: f64,
    weight_decay: f64,
    clip_grad_norm: f64,
    batch: usize,
    template: String,
    cutoff_len: usize,
    train_on_inputs: bool,
}

/// The id the reference run pads with, and the one a sequence begins with.
const PAD: i64 = 0;
const BOS: i64 = 1;

/// A checkpoint whose attention writes nothing.
struct WithoutAttention<'a>(CheckpointSource<'a>);

impl LinearSource for WithoutAttention<'_> {
    fn tensor(&self, name: &str, shape: &[i64]) -> Result<Tensor, NnError> {
        let tensor = self.0.tensor(name, shape)?;
        Ok(if name.ends_with("o_proj.weight") { tensor.zeros_like() } else { tensor })
    }
}

/// The task as a left-padded batch has it: a sequence `[PAD, BOS]` stands for the target that padding adds.
struct LeftPadded {
    task: LoraModel,
    /// Loss of BOS after padding.
    loss_of_bos: f64,
}

impl LeftPadded {
    fn new(task: LoraModel, data: &Path) -> Self {
        let store = TensorStore::open(&data.join("models/stories15M-hf")).unwrap();
        let source = CheckpointSource::new(&store, Device::Cpu, Some(Kind::Float));
        let model = Llama::load(task.model().config(), &WithoutAttention(source)).unwrap();
        let loss = no_grad(|| model.loss_sum(&Self::padding(), Mode::Eval).unwrap());
        Self { task, loss_of_bos: loss.double_value(&[]) }
    }

    fn padding() -> TokenBatch {
        TokenBatch::from_sequences([([PAD, BOS].as_slice(), [IGNORE_INDEX, BOS].as_slice())])
    }

    /// The batch, with what padding adds at its end.
    fn batch(examples: &[Example]) -> TokenBatch {
        let lens = examples.iter().map(|example| example.input_ids.len());
        let width = lens.max().unwrap().next_multiple_of(8);
        let mut all = TokenBatch::from_sequences(
            examples.iter().map(|example| (example.input_ids.as_slice(), example.labels.as_slice())),
        );
        let padding = Self::padding();
        for _ in examples.iter().filter(|example| example.input_ids.len() < width) {
            all.input_ids.extend(&padding.input_ids);
            all.labels.extend(&padding.labels);
            all.seq_lens.extend(&padding.seq_lens);
        }
        all
    }
}

impl Trainable for LeftPadded {
    fn parameters(&self) -> Vec<(String, Tensor)> {
        self.task.parameters()
    }

    fn loss_sum(&self, batch: &TokenBatch, mode: Mode) -> Result<Tensor, BoxError> {
        let mut own = batch.clone();
        let mut padded = 0;
        while own.input_ids.ends_with(&[PAD, BOS]) {
            own.input_ids.truncate(own.input_ids.len() - 2);
            own.labels.truncate(own.input_ids.len());
            own.seq_lens.pop();
            padded += 1;
        }
        Ok(self.task.loss_sum(&own, mode)? + f64::from(padded) * self.loss_of_bos)
    }

    fn save(&self, dir: &Path) -> Result<(), BoxError> {
        Trainable::save(&self.task, dir)
    }

    fn restore(&self, dir: &Path) -> Result<(), BoxError> {
        self.task.restore(dir)
    }
}

/// The adapted model with the initial adapter of the reference run.
fn task(data: &Path, golden: &Golden) -> LoraModel {
    let base = Base::open(data.join("models/stories15M-hf").to_str().unwrap()).unwrap();
    let mut model = base.load(Device::Cpu, Dtype::Float32).unwrap();
    let init = data.join("peft-golden-stories15M/adapter_init");
    let config = LoraConfig::from_dir(&init).unwrap();
    let Hyper { r, lora_alpha, dropout, .. } = golden.hparams;
    assert_eq!((config.r, config.lora_alpha, config.lora_dropout), (r, lora_alpha, dropout));
    let adapters = LoraAdapters::attach(&mut model, &config, 0).unwrap();
    adapters.restore(&init).unwrap();
    LoraModel::new(model, adapters)
}

/// The tokenised records of the reference run.
fn examples(data: &Path, golden: &Golden) -> Vec<Example> {
    let base = Base::open(data.join("models/stories15M-hf").to_str().unwrap()).unwrap();
    let records = load_records(&data.join("alpaca/alpaca_mini_64.json"), BadRecords::Refuse).unwrap().records;
    let Hyper { cutoff_len, train_on_inputs, ref template, .. } = golden.hparams;
    let template = PromptTemplate::load(template).unwrap();
    let config = TokenizeConfig { cutoff_len, train_on_inputs, add_eos_token: false };
    let (examples, _) = tokenize_records(&records, &template, &base.tokenizer().unwrap(), &config).unwrap();
    assert_eq!(examples.len(), records.len());
    examples
}

fn largest_difference(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    no_grad(|| (a - b).abs().max().double_value(&[]))
}

#[test]
fn twenty_steps_are_those_of_peft() {
    let Some(data) = common::shared_data("twenty_steps_are_those_of_peft") else { return };
    let text = std::fs::read_to_string(data.join("peft-golden-stories15M/golden.json")).unwrap();
    let golden: Golden = serde_json::from_str(&text).unwrap();
    let examples = examples(&data, &golden);
    for (example, expected) in examples.iter().zip(&golden.token_ids_first_8_records) {
        assert_eq!(&example.input_ids, expected);
    }
    assert_eq!((golden.losses.len(), golden.token_ids_first_8_records.len()), (20, 8));

    let task = LeftPadded::new(task(&data, &golden), &data);
    let Hyper { lr, betas: (beta1, beta2), eps, weight_decay, clip_grad_norm, batch: size, .. } =
        golden.hparams;
    let config = TrainConfig {
        adam_beta1: Some(beta1),
        adam_beta2: Some(beta2),
        adam_epsilon: eps,
        weight_decay,
        ..TrainConfig::default()
    };
    let mut optimizer = Optimizer::from_config(task.parameters(), &config).unwrap();
    for (step, (loss, norm)) in golden.losses.iter().zip(&golden.grad_norms_before_clip).enumerate() {
        let start = size * step % examples.len();
        let micro_batch = LeftPadded::batch(&examples[start..start + size]);
        let settings = StepSettings {
            seed: step as u64,
            learning_rate: lr,
            max_grad_norm: clip_grad_norm,
            time_phases: false,
            loss_scale: 1.0,
        };
        let stop = StopFlag::new();
        let outcome = optimizer_step(&task, &mut optimizer, &[micro_batch], &settings, &stop).unwrap();
        let StepOutcome::Updated(stats) = outcome else { panic!("step {step}: {outcome:?}") };
        assert!((stats.loss - loss).abs() < LOSS, "step {step}: loss {}, PEFT {loss}", stats.loss);
        assert!(
            (stats.grad_norm / norm - 1.0).abs() < GRAD_NORM,
            "step {step}: norm {}, PEFT {norm}",
            stats.grad_norm
        );
    }

    let last = data.join("peft-golden-stories15M/adapter_final/adapter_model.safetensors");
    let last = TensorStore::open_file(&last).unwrap();
    assert_eq!(last.names().count(), task.parameters().len());
    let mut largest = 0.0_f64;
    for (name, tensor) in task.parameters() {
        let difference = largest_difference(&tensor, &last.tensor(&name).unwrap());
        assert!(difference < ADAPTER, "{name} differs by {difference}");
        largest = largest.max(difference);
    }
    eprintln!("largest difference in the adapter: {largest:e}");
}

#[test]
fn pefts_adapter_gives_pefts_logits_and_pefts_merged_weight() {
    let Some(data) = common::shared_data("pefts_adapter_gives_pefts_logits_and_pefts_merged_weight") else {
        return;
    };
    let text = std::fs::read_to_string(data.join("peft-golden-stories15M/golden.json")).unwrap();
    let golden: Golden = serde_json::from_str(&text).unwrap();
    let task = task(&data, &golden);
    let store = TensorStore::open(&data.join("models/stories15M-hf")).unwrap();
    let base = store.tensor("model.layers.0.self_attn.q_proj.weight").unwrap();
    for dir in ["adapter_final", "adapter_final_bin"] {
        task.adapters().restore(&data.join("peft-golden-stories15M").join(dir)).unwrap();
        let probe = TokenBatch::from_sequences([(golden.probe_ids.as_slice(), golden.probe_ids.as_slice())]);
        let logits = no_grad(|| {
            let hidden = task.model().hidden_states(&probe, Mode::Eval).unwrap();
            task.model().logits(&hidden.get(hidden.size()[0] - 1)).unwrap() // [V]
        });
        for &(id, expected) in &golden.probe_last_logits_top10 {
            let actual = logits.double_value(&[id]);
            assert!((actual - expected).abs() < LOGIT, "{dir}: token {id} {actual}, PEFT {expected}");
        }
        assert_eq!(logits.argmax(0, false).int64_value(&[]), golden.probe_last_logits_top10[0].0);

        let layer = &task.adapters().layers()[0];
        assert_eq!(layer.path.as_str(), "model.layers.0.self_attn.q_proj");
        let merged = no_grad(|| &base + layer.delta_weight(&base).unwrap());
        for (index, expected) in (0..).zip(&golden.merged_q_proj0_first8) {
            let actual = merged.double_value(&[0, index]);
            assert!((actual - expected).abs() < 1e-6, "{dir}: merged [0, {index}] {actual}, PEFT {expected}");
        }
    }
}
