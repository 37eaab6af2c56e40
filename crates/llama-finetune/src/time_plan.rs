//! The time of a training run, estimated from its tokens and from the rate of one matrix product.

use std::time::{Duration, Instant};

use llama_model::LlamaConfig;
use nn_core::{Dataset, TorchContext};
use serde::Serialize;
use tch::{Device, Kind, Tensor, no_grad};
use trainer::TrainConfig;

use crate::memory::RunShape;
use crate::{FinetuneError, TrainingData};

/// Time that measuring may take, once the device is warm.
const MEASURING: Duration = Duration::from_millis(400);

/// Products that are timed at least.
const PRODUCTS: u32 = 3;

/// The work of a run, and the time it takes at a rate that was measured. Loading, saving, and what is no product of matrices (norms,
/// attention's softmax, the optimiser) come on top.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct TimePlan {
    /// Optimiser steps.
    pub steps: u64,
    /// Tokens that are trained on, all epochs together.
    pub train_tokens: u64,
    /// Tokens that are evaluated, all evaluations together.
    pub eval_tokens: u64,
    /// Floating-point operations of all products.
    pub flops: f64,
    /// Rate of a product of this model's shape, measured on the device: operations a second.
    pub flops_per_s: f64,
    /// Quotient of the two.
    pub seconds: f64,
}

impl TimePlan {
    /// Estimates the time of training `model` on `data`, on a device that has been started.
    ///
    /// A token costs two operations for each weight of a linear layer forward, two backward to the activations, two more for the
    /// gradient of a weight that trains, and two to recompute it under activation checkpointing.
    ///
    /// # Errors
    /// [`FinetuneError`] when libtorch cannot multiply on the device.
    pub fn measure(
        model: &LlamaConfig,
        run: &RunShape,
        config: &TrainConfig,
        data: &TrainingData,
        device: Device,
    ) -> Result<Self, FinetuneError> {
        let records = data.train.len();
        let steps = config.total_steps(records);
        let batch_size = f64::from(config.micro_batch_size * config.gradient_accumulation_steps);
        let epochs = match config.max_steps {
            Some(_) => steps as f64 * batch_size / records.max(1) as f64,
            None => f64::from(config.num_epochs),
        };
        let tokens_of_epoch = count_tokens(&*data.train);
        let train_tokens = (tokens_of_epoch as f64 * epochs).round();
        let evaluations = steps.div_ceil(u64::from(config.eval_steps.max(1)));
        let eval_tokens = data.validation.as_ref().map_or(0, |data| count_tokens(&**data) * evaluations);
        let layer: i64 = model.layer_linears().iter().map(|&(_, inputs, outputs)| inputs * outputs).sum();
        let weights = (layer * model.num_hidden_layers as i64 + model.vocab_size * model.hidden_size) as f64;
        let passes = 2.0 + f64::from(u8::from(run.full)) + f64::from(u8::from(run.gradient_checkpointing));
        let flops = 2.0 * weights * (passes * train_tokens + eval_tokens as f64);
        let mean = tokens_of_epoch as f64 / records.max(1) as f64;
        let rows = (mean * f64::from(config.micro_batch_size)).ceil().max(1.0) as i64;
        let flops_per_s = product_rate(device, run.kind, [rows, model.hidden_size, model.intermediate_size])?;
        let train_tokens = train_tokens as u64;
        Ok(Self { steps, train_tokens, eval_tokens, flops, flops_per_s, seconds: flops / flops_per_s })
    }
}

fn count_tokens(data: &dyn Dataset) -> u64 {
    (0..data.len()).map(|index| data.batch(&[index]).input_ids.len() as u64).sum()
}

/// Measures the rate of `[rows, inner] x [inner, columns]` in operations a second: the fastest of several.
fn product_rate(device: Device, kind: Kind, [rows, inner, columns]: [i64; 3]) -> Result<f64, FinetuneError> {
    no_grad(|| {
        let left = Tensor::f_ones([rows, inner], (kind, device)).op("ones")?;
        let right = Tensor::f_ones([columns, inner], (kind, device)).op("ones")?.f_t_().op("t")?;
        let product = || -> Result<f64, FinetuneError> {
            let begun = Instant::now();
            let product = left.f_matmul(&right).op("matmul")?;
            // Reading an element waits for a GPU.
            product.f_get(0).and_then(|row| row.f_double_value(&[0])).op("double_value")?;
            Ok(begun.elapsed().as_secs_f64())
        };
        product()?;
        let begun = Instant::now();
        let (mut fastest, mut count) = (f64::INFINITY, 0);
        while count < PRODUCTS || (begun.elapsed() < MEASURING && count < 10 * PRODUCTS) {
            fastest = fastest.min(product()?);
            count += 1;
        }
        Ok(2.0 * (rows * inner * columns) as f64 / fastest.max(1e-9))
    })
}

#[cfg(test)]
mod tests {
    use alpaca_data::Example;

    use super::*;

    #[test]
    fn the_work_is_that_of_the_passes_over_the_tokens() {
        let model = LlamaConfig::new(100, 32, 64, 2, 4);
        let example = |len: usize| Example { input_ids: vec![1; len], labels: vec![1; len] };
        let data = TrainingData {
            train: Box::new(vec![example(3), example(5), example(8)]),
            validation: Some(Box::new(vec![example(7)])),
            shown: Vec::new(),
        };
        let run = |full, gradient_checkpointing| RunShape {
            kind: Kind::Float,
            quantization: None,
            trainable: 1,
            full,
            lora_dropout: 0.0,
            gradient_checkpointing,
            micro_batch_size: 2,
            cutoff_len: 8,
            optimizer: trainer::OptimizerKind::default(),
        };
        let config = TrainConfig {
            micro_batch_size: 2,
            gradient_accumulation_steps: 1,
            num_epochs: 2,
            eval_steps: 3,
            ..TrainConfig::default()
        };
        let plan = |full, checkpointing| {
            TimePlan::measure(&model, &run(full, checkpointing), &config, &data, Device::Cpu).unwrap()
        };
        // 16 tokens twice over; 4 steps, so evaluations after 3 and 4.
        let adapter = plan(false, false);
        assert_eq!((adapter.steps, adapter.train_tokens, adapter.eval_tokens), (4, 32, 14));
        let weights = 2 * (4 * 32 * 32 + 3 * 32 * 64) + 100 * 32;
        assert_eq!(adapter.flops as u64, 2 * weights * (2 * 32 + 14));
        assert_eq!(plan(true, true).flops as u64, 2 * weights * (4 * 32 + 14));
        assert!(adapter.seconds > 0.0 && adapter.flops_per_s > 0.0);
    }
}
