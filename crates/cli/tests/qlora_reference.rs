//! Twenty steps of QLoRA, and of LoRA over 8-bit weights, by real PEFT and bitsandbytes in float32 compute
//! (`goldens/make_qlora.py`), repeated with these crates: the same losses and adapter. And what a quantised model holds
//! in dequantised weights while it trains.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;

use checkpoint::Base;
use llama_finetune::LoraModel;
use lora::{LoraAdapters, LoraConfig, TargetModules};
use nn_core::{Dtype, TokenBatch, Trainable};
use qlora_nf4::{Quantization, dequantized_bytes, reset_dequantized_peak};
use serde::Deserialize;
use tch::{Device, Tensor, no_grad};
use trainer::{Optimizer, StepOutcome, StepSettings, StopFlag, TrainConfig, optimizer_step};

/// Mean loss of a step.
const NF4_LOSS: f64 = 1e-3;
/// The same over 8-bit weights: bitsandbytes rounds its inputs to 8 bits there or computes in float16; these crates do not.
const INT8_LOSS: f64 = 2e-2;
/// Norm of a layer's final `lora_B`, relative.
const NORM: f64 = 2e-2;

#[derive(Deserialize)]
struct Golden {
    r: i64,
    lora_alpha: f64,
    learning_rate: f64,
    input_ids: Vec<Vec<Vec<i64>>>,
    nf4: Run,
    int8: Run,
}

#[derive(Deserialize)]
struct Run {
    losses: Vec<f64>,
    b_norms: Vec<f64>,
}

/// `lora_A` as the script makes it.
fn factor(shape: &[i64], stream: usize) -> Tensor {
    let value = |i: i64| (0.05 * ((i as f64 + 1000.0 * stream as f64) * 0.7).sin()) as f32;
    Tensor::from_slice(&(0..shape[0] * shape[1]).map(value).collect::<Vec<_>>()).view(shape)
}

fn task(golden: &Golden, quantization: Quantization, checkpointing: bool) -> LoraModel {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let base = Base::open(root.join("../../datasets/tiny-llama").to_str().unwrap()).unwrap();
    let mut model = base.load_quantized(Device::Cpu, Dtype::Float32, Some(quantization)).unwrap();
    model.set_gradient_checkpointing(checkpointing);
    let config = LoraConfig {
        r: golden.r,
        lora_alpha: golden.lora_alpha,
        target_modules: Some(TargetModules::Pattern("all-linear".to_owned())),
        ..LoraConfig::default()
    };
    let adapters = LoraAdapters::attach(&mut model, &config, 0).unwrap();
    for (stream, layer) in adapters.layers().iter().enumerate() {
        no_grad(|| layer.a().shallow_clone().copy_(&factor(&layer.a().size(), stream)));
    }
    LoraModel::new(model, adapters)
}

/// Losses of all steps, and the norms of the final `lora_B`.
fn train(golden: &Golden, quantization: Quantization, checkpointing: bool) -> (Vec<f64>, Vec<f64>) {
    let task = task(golden, quantization, checkpointing);
    let mut optimizer = Optimizer::from_config(task.parameters(), &TrainConfig::default()).unwrap();
    let settings = StepSettings {
        seed: 0,
        learning_rate: golden.learning_rate,
        max_grad_norm: 0.0,
        time_phases: false,
        loss_scale: 1.0,
    };
    let mut losses = Vec::new();
    for rows in &golden.input_ids {
        let batch = TokenBatch::from_sequences(rows.iter().map(|ids| (ids.as_slice(), ids.as_slice())));
        match optimizer_step(&task, &mut optimizer, &[batch], &settings, &StopFlag::new()).unwrap() {
            StepOutcome::Updated(stats) => losses.push(stats.loss),
            other => panic!("{other:?}"),
        }
    }
    let norms = task.adapters().layers().iter().map(|layer| layer.b().norm().double_value(&[]));
    (losses, norms.collect())
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("goldens/qlora.json")).unwrap()
}

fn compare(ours: &(Vec<f64>, Vec<f64>), theirs: &Run, loss: f64, norm: f64) {
    assert_eq!(ours.0.len(), 20);
    for (step, (ours, theirs)) in ours.0.iter().zip(&theirs.losses).enumerate() {
        assert!((ours - theirs).abs() < loss, "step {step}: {ours} {theirs}");
    }
    assert_eq!(ours.1.len(), theirs.b_norms.len());
    for (layer, (ours, theirs)) in ours.1.iter().zip(&theirs.b_norms).enumerate() {
        assert!((ours - theirs).abs() < norm * theirs, "layer {layer}: {ours} {theirs}");
    }
}

fn quantization(name: &str, double_quant: bool) -> Quantization {
    Quantization::from_flags(name, double_quant).unwrap().unwrap()
}

#[test]
fn qlora_takes_the_steps_of_peft_and_bitsandbytes() {
    let golden = golden();
    let nf4 = quantization("nf4", true);
    compare(&train(&golden, nf4, false), &golden.nf4, NF4_LOSS, NORM);
}

#[test]
fn lora_over_8_bits_stays_near_the_steps_of_peft_and_bitsandbytes() {
    let golden = golden();
    compare(&train(&golden, quantization("int8", false), false), &golden.int8, INT8_LOSS, 0.1);
}

#[test]
fn training_never_holds_more_than_two_dequantised_matrices() {
    let mut golden = golden();
    golden.input_ids.truncate(2);
    let largest = 640 * 256 * 4;
    for checkpointing in [false, true] {
        reset_dequantized_peak();
        let nf4 = quantization("nf4", true);
        let (losses, _) = train(&golden, nf4, checkpointing);
        let bytes = dequantized_bytes();
        assert_eq!((losses.len(), bytes.live), (2, 0));
        assert!(bytes.peak > 0 && bytes.peak <= 2 * largest, "{bytes:?}");
    }
}
