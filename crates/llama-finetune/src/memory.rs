//! The memory of a training run, estimated from the model's shape and the settings alone.

use llama_model::{Llama, LlamaConfig};
use lora::{LoraConfig, TargetModules};
use nn_core::CausalLm;
use qlora_nf4::Quantization;
use serde::Serialize;
use tch::{Device, Kind};
use trainer::OptimizerKind;

use crate::{FinetuneError, free_bytes};

/// Logits that the fused head and loss hold at one time on a CPU, with its temporaries.
const LOGITS_ON_CPU: f64 = (4 << 20) as f64;

/// Part of the free memory that keys and values may take.
const CACHE_PART: f64 = 0.6;

/// Bytes of the tile that one product of a quantised layer dequantises.
const TILE_BYTES: f64 = (1 << 23) as f64;

/// The settings of a run that its memory depends on.
#[derive(Debug, Clone, PartialEq)]
pub struct RunShape {
    /// Precision of the base and of the computation.
    pub kind: Kind,
    /// Quantisation of the base's linear layers.
    pub quantization: Option<Quantization>,
    /// Values that train.
    pub trainable: i64,
    /// Train every weight of the model instead of an adapter.
    pub full: bool,
    /// Dropout of the adapter's input.
    pub lora_dropout: f64,
    /// Keep only each layer's input for the backward pass.
    pub gradient_checkpointing: bool,
    /// Records of one forward pass.
    pub micro_batch_size: u32,
    /// Tokens of the longest record.
    pub cutoff_len: usize,
    /// The optimiser.
    pub optimizer: OptimizerKind,
}

/// Bytes of one run, by what holds them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct MemoryPlan {
    /// Frozen or trained weights of the model.
    pub weights: f64,
    /// Factors of the adapter.
    pub adapter: f64,
    /// Gradients of what trains.
    pub gradients: f64,
    /// State of the optimiser.
    pub optimizer: f64,
    /// Device memory of one page of the optimiser's state, when the state itself lies in host memory.
    pub page: Option<f64>,
    /// Activations kept for the backward pass.
    pub activations: f64,
    /// Logits of one chunk of the fused head and loss.
    pub logits: f64,
}

impl MemoryPlan {
    /// Estimates the memory of a run; on a GPU where `cuda` is set.
    pub fn estimate(model: &LlamaConfig, run: &RunShape, cuda: bool) -> Self {
        let bytes = run.kind.elt_size_in_bytes() as f64;
        let trainable = run.trainable as f64;
        let tokens = f64::from(run.micro_batch_size) * run.cutoff_len as f64;
        let (c, f) = (model.hidden_size as f64, model.intermediate_size as f64);
        let heads = ((model.num_attention_heads + model.num_key_value_heads) * model.head_dim) as f64;
        // Kept for the backward pass of one layer and token: the inputs of the two norms, their outputs where an adapter or a
        // weight reads them, q, k, v and the output of attention, and gate and up.
        let layer = 4.0 * c * bytes + 2.0 * heads * bytes + 2.0 * f * bytes;
        let layer = match (cuda, run.full) {
            (false, false) => layer,
            // The input of `down_proj`, whose weight trains.
            (false, true) => layer + f * bytes,
            // A GPU runs tensor operations, which keep more: norms in float32, silu(gate), and each dropout's input and mask.
            (true, full) => {
                let dropout = if full || run.lora_dropout == 0.0 { 0.0 } else { 2.0 * 2.0 * c * 4.0 };
                layer + 2.0 * c * (4.0 - bytes) + f * bytes + dropout
            }
        };
        let layers = model.num_hidden_layers as f64;
        let activations =
            if run.gradient_checkpointing { layers * c * bytes + layer } else { layers * layer };
        let logits = if cuda {
            (tokens * model.vocab_size as f64).min(torch_ext::logits_at_once(Device::Cuda(0)) as f64)
        } else {
            LOGITS_ON_CPU
        };
        let tile = if run.quantization.is_some() { TILE_BYTES } else { 0.0 };
        Self {
            weights: base_bytes(model, run.kind, run.quantization) + tile,
            adapter: if run.full { 0.0 } else { trainable * 4.0 },
            gradients: trainable * 4.0,
            optimizer: run.optimizer.state_bytes(trainable),
            page: (cuda && run.optimizer.is_paged()).then(|| run.optimizer.page_bytes()),
            activations: tokens * activations,
            logits: 2.0 * 4.0 * logits,
        }
    }

    /// Returns the bytes that the device has to hold.
    pub fn total(&self) -> f64 {
        let optimizer = self.page.unwrap_or(self.optimizer);
        self.weights + self.adapter + self.gradients + optimizer + self.activations + self.logits
    }
}

/// Computes the bytes of a base's weights: those outside the linear layers in `kind`, the layers in it or quantised.
pub fn base_bytes(model: &LlamaConfig, kind: Kind, quantization: Option<Quantization>) -> f64 {
    let bytes = kind.elt_size_in_bytes() as f64;
    let layer: i64 = model.layer_linears().iter().map(|&(_, inputs, outputs)| inputs * outputs).sum();
    let linear = layer * model.num_hidden_layers as i64;
    let quantised = quantization.map_or(linear as f64 * bytes, |quantization| quantization.bytes(linear));
    (model.num_parameters() - linear) as f64 * bytes + quantised
}

/// Computes the bytes of the keys and values of one sequence of `tokens` tokens, kept in `kind`.
pub fn kv_cache_bytes(model: &LlamaConfig, kind: Kind, tokens: usize) -> f64 {
    let token = 2 * model.num_hidden_layers as i64 * model.num_key_value_heads * model.head_dim;
    token as f64 * tokens as f64 * kind.elt_size_in_bytes() as f64
}

/// Sequences that can be continued at one time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CacheRows {
    /// Their number, at least one.
    pub rows: usize,
    /// Bytes of the keys and values of one of them on the device that holds the fewest.
    pub row_bytes: f64,
    /// Bytes that this device has free.
    pub free: f64,
}

/// Counts the sequences of up to `longest` tokens whose keys and values may take their part of the free memory, in all `models`;
/// `None` where no device says how much is free.
pub fn cache_rows<'a>(models: impl Iterator<Item = &'a Llama>, longest: usize) -> Option<CacheRows> {
    // Each device has the keys and values of its layers.
    let mut row_bytes: Vec<(Device, f64)> = Vec::new();
    for model in models {
        let all = kv_cache_bytes(model.config(), model.kind(), model.max_len().min(longest));
        let layer = all / model.layer_devices().len().max(1) as f64;
        for &device in model.layer_devices() {
            match row_bytes.iter_mut().find(|(other, _)| *other == device) {
                Some((_, bytes)) => *bytes += layer,
                None => row_bytes.push((device, layer)),
            }
        }
    }
    let fit = |(device, row_bytes): (Device, f64)| {
        free_bytes(device).map(|free| CacheRows { rows: rows_that_fit(row_bytes, free), row_bytes, free })
    };
    row_bytes.into_iter().filter_map(fit).min_by_key(|fit| fit.rows)
}

/// Counts the sequences whose keys and values, of `row_bytes` each, may take their part of `free` bytes; at least one.
fn rows_that_fit(row_bytes: f64, free: f64) -> usize {
    (CACHE_PART * free / row_bytes.max(1.0)).max(1.0) as usize
}

/// Counts the values that train in the adapter that `config` describes; with a vocabulary of `vocab_size` rows, where that is
/// another than the base's.
///
/// # Errors
/// [`FinetuneError::UnknownTarget`] for a name of no layer, [`FinetuneError::PatternNeedsModel`] for a regular expression.
pub fn adapter_parameters(
    model: &LlamaConfig,
    config: &LoraConfig,
    vocab_size: Option<i64>,
) -> Result<i64, FinetuneError> {
    let known = model.layer_linears().map(|(leaf, ..)| leaf);
    let known = [&known[..], &["lm_head", "embed_tokens"]].concat();
    match &config.target_modules {
        Some(TargetModules::Names(names)) => {
            if let Some(name) = names.iter().find(|name| !known.contains(&name.as_str())) {
                return Err(FinetuneError::UnknownTarget { target: name.clone(), known: known.join(", ") });
            }
        }
        Some(TargetModules::Pattern(pattern)) if pattern != "all-linear" => {
            return Err(FinetuneError::PatternNeedsModel);
        }
        _ => {}
    }
    let model = LlamaConfig { vocab_size: vocab_size.unwrap_or(model.vocab_size), ..model.clone() };
    Ok(config.num_parameters(&checkpoint::model_shape(&model))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> RunShape {
        RunShape {
            kind: Kind::BFloat16,
            quantization: None,
            trainable: 4_194_304,
            full: false,
            lora_dropout: 0.05,
            gradient_checkpointing: false,
            micro_batch_size: 4,
            cutoff_len: 256,
            optimizer: OptimizerKind::default(),
        }
    }

    #[test]
    fn alpaca_loras_adapter_of_7b_has_its_published_size() {
        let model = llama_model::preset("7b").unwrap();
        let targets = TargetModules::Names(vec!["q_proj".to_owned(), "v_proj".to_owned()]);
        let config = LoraConfig { target_modules: Some(targets), ..LoraConfig::default() };
        assert_eq!(adapter_parameters(&model, &config, None).unwrap(), 4_194_304);
    }

    #[test]
    fn a_7b_base_in_nf4_with_double_quantisation_takes_less_than_3_9_gb() {
        let model = llama_model::preset("7b").unwrap();
        let quantization = Quantization::from_flags("nf4", true).unwrap();
        let bytes = MemoryPlan::estimate(&model, &RunShape { quantization, ..run() }, false).weights;
        assert!(bytes > 3.8e9 && bytes < 3.9e9, "{bytes}");
    }

    #[test]
    fn keys_and_values_of_7b_take_half_a_mib_a_token() {
        let model = llama_model::preset("7b").unwrap();
        assert_eq!(kv_cache_bytes(&model, Kind::Half, 2048) as u64, 1 << 30);
    }

    #[test]
    fn as_many_rows_as_memory_holds_and_never_none() {
        let gib = f64::from(1 << 30);
        assert_eq!(rows_that_fit(gib, 10.0 * gib), 6);
        assert_eq!(rows_that_fit(100.0 * gib, gib), 1);
    }

    #[test]
    fn gradient_checkpointing_lowers_the_estimate() {
        let model = llama_model::preset("7b").unwrap();
        let saving = RunShape { gradient_checkpointing: true, ..run() };
        let total = |run: &RunShape| MemoryPlan::estimate(&model, run, false).total();
        assert!(total(&saving) < total(&run()));
    }

    #[test]
    fn a_paged_state_counts_one_bucket_on_the_gpu() {
        let model = llama_model::preset("7b").unwrap();
        let optimizer = "paged_adamw_32bit".parse().unwrap();
        let run = RunShape { trainable: 159_907_840, optimizer, ..run() };
        // Both moments and two temporaries of 2^22 elements.
        let page = 4.0 * 4.0 * f64::from(1 << 22);
        let paged = MemoryPlan::estimate(&model, &run, true);
        let kept = MemoryPlan { page: None, ..paged };
        assert_eq!(MemoryPlan::estimate(&model, &run, false).page, None);
        let saved = kept.total() - paged.total();
        assert!((saved - (159_907_840.0 * 8.0 - page)).abs() < 1.0, "{saved}");
    }
}
