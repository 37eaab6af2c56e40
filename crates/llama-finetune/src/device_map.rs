//! A model over the memory of several GPUs.

use std::str::FromStr;

use checkpoint::DeviceMap;
use llama_model::LlamaConfig;
use qlora_nf4::Quantization;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind};

use crate::device::free_of_gpus;
use crate::{DeviceChoice, FinetuneError, MemoryPlan, RunShape, base_bytes};

/// A device map as it is asked for: `none` or `auto`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceMapChoice {
    /// All on one device.
    #[default]
    None,
    /// Over all GPUs by their free memory, where the device is a GPU (`device_map="auto"` of accelerate).
    Auto,
}

/// Bytes of the parts of a model, in the order in which devices are filled with them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PartBytes {
    /// The embedding, and the head where it is the same: on the first device, besides layers.
    pub first: f64,
    /// One layer.
    pub layer: f64,
    /// Number of layers.
    pub layers: usize,
    /// The head, where it is not the embedding: on the last device, besides layers.
    pub last: f64,
}

/// The part of a model on one GPU.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct DevicePart {
    /// Index of the GPU.
    pub gpu: usize,
    /// Number of layers.
    pub layers: usize,
    /// Bytes of these layers, with embedding or head where they are here.
    pub bytes: f64,
    /// Bytes that the GPU has free.
    pub free: f64,
}

impl PartBytes {
    /// Computes the bytes of a model's weights: those outside the linear layers in `kind`, the layers in it or quantised.
    pub fn of_model(model: &LlamaConfig, kind: Kind, quantization: Option<Quantization>) -> Self {
        let table = (model.vocab_size * model.hidden_size) as f64 * kind.elt_size_in_bytes() as f64;
        let (layers, tied) = (model.num_hidden_layers, model.tie_word_embeddings);
        let last = if tied { 0.0 } else { table };
        let layer = (base_bytes(model, kind, quantization) - table - last) / layers.max(1) as f64;
        Self { first: table, layer, layers, last }
    }

    /// Estimates the bytes of a model and of all that training adds to it.
    pub fn of_run(model: &LlamaConfig, run: &RunShape) -> Self {
        let plan = MemoryPlan::estimate(model, run, true);
        let Self { first, layer, layers, last } = Self::of_model(model, run.kind, run.quantization);
        let logits = |here: bool| if here { plan.logits } else { 0.0 };
        let tied = model.tie_word_embeddings;
        let spread = plan.total() - plan.logits - first - last;
        let layer = (spread / layers.max(1) as f64).max(layer);
        Self { first: first + logits(tied), layer, layers, last: last + logits(!tied) }
    }

    /// Shares the layers out over GPUs with this much free memory so that the fullest is as empty as can be.
    pub fn split(&self, free: &[f64]) -> Vec<DevicePart> {
        let end = free.len().saturating_sub(1);
        let part = |(gpu, &free)| DevicePart { gpu, layers: 0, bytes: 0.0, free };
        let mut parts: Vec<DevicePart> = free.iter().enumerate().map(part).collect();
        for (gpu, fixed) in [(0, self.first), (end, self.last)] {
            if let Some(part) = parts.get_mut(gpu) {
                part.bytes += fixed;
            }
        }
        // Each layer goes where it leaves the smallest part of the memory in use.
        let used = |part: &DevicePart| (part.bytes + self.layer) / part.free.max(1.0);
        for _ in 0..self.layers {
            if let Some(part) = parts.iter_mut().min_by(|a, b| used(a).total_cmp(&used(b))) {
                part.layers += 1;
                part.bytes += self.layer;
            }
        }
        parts
    }
}

impl DeviceMapChoice {
    /// Checks that the choice goes with that of a device and with a number of processes.
    ///
    /// # Errors
    /// [`FinetuneError::DeviceMap`] where a map of all GPUs meets one that is named, or several processes.
    pub fn check(self, device: DeviceChoice, processes: usize) -> Result<(), FinetuneError> {
        let with = match device {
            _ if self == Self::None => return Ok(()),
            DeviceChoice::Cuda(Some(_)) => format!("device {device}"),
            _ if processes > 1 => format!("{processes} processes, of which each has a GPU and a whole model"),
            _ => return Ok(()),
        };
        Err(FinetuneError::DeviceMap { with })
    }

    /// Shares a model out over all GPUs; empty where it goes to `device` alone.
    pub fn parts(self, device: Device, model: &PartBytes) -> Vec<DevicePart> {
        let free = if self == Self::Auto && device.is_cuda() { free_of_gpus() } else { Vec::new() };
        if free.len() > 1 { model.split(&free) } else { Vec::new() }
    }

    /// Maps the parts of a model to `device`, or to all GPUs.
    pub fn map(self, device: Device, model: &PartBytes) -> DeviceMap {
        let parts = self.parts(device, model);
        if parts.is_empty() {
            return device.into();
        }
        let end = parts.len() - 1;
        let mut start = 0;
        let mut further = Vec::new();
        for DevicePart { gpu, layers, .. } in parts {
            if gpu > 0 && (layers > 0 || gpu == end) {
                further.push((start, Device::Cuda(gpu)));
            }
            start += layers;
        }
        let map = DeviceMap::split(Device::Cuda(0), further);
        tracing::info!("device_map: {map}");
        map
    }
}

impl FromStr for DeviceMapChoice {
    type Err = FinetuneError;

    fn from_str(text: &str) -> Result<Self, FinetuneError> {
        match text {
            "none" => Ok(Self::None),
            "auto" => Ok(Self::Auto),
            other => Err(FinetuneError::Setting {
                name: "device_map",
                actual: other.to_owned(),
                expected: "none or auto",
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use trainer::OptimizerKind;

    use super::*;

    const GB: f64 = 1e9;

    fn layers(parts: &[DevicePart]) -> Vec<usize> {
        parts.iter().map(|part| part.layers).collect()
    }

    #[test]
    fn layers_go_where_memory_is_free_and_none_is_lost() {
        let parts = PartBytes { first: 0.0, layer: GB, layers: 32, last: 0.0 };
        assert_eq!(layers(&parts.split(&[24.0 * GB, 24.0 * GB])), [16, 16]);
        assert_eq!(layers(&parts.split(&[24.0 * GB, 8.0 * GB])), [24, 8]);
        assert_eq!(layers(&parts.split(&[24.0 * GB, 0.0, 24.0 * GB])), [16, 0, 16]);
        // An embedding of 4 layers' size in front.
        let parts = PartBytes { first: 4.0 * GB, ..parts }.split(&[24.0 * GB, 24.0 * GB]);
        assert_eq!(layers(&parts), [14, 18]);
        assert!((parts[0].bytes - parts[1].bytes).abs() < 1.0);
    }

    /// The plan of docs/gpu.md: what artidoro/qlora's scripts train, in two cards of 24 GiB.
    #[test]
    fn qlora_of_a_65b_fits_into_two_cards_of_24_gib() {
        let model = llama_model::preset("65b").unwrap();
        let run = RunShape {
            kind: Kind::BFloat16,
            quantization: Quantization::from_flags("nf4", true).unwrap(),
            // r 16 on all linear layers.
            trainable: 199_884_800,
            full: false,
            lora_dropout: 0.05,
            gradient_checkpointing: true,
            micro_batch_size: 1,
            cutoff_len: 512,
            optimizer: "paged_adamw_32bit".parse::<OptimizerKind>().unwrap(),
        };
        // What a card of 24 GiB has free beside the driver's context.
        let free = 23.3 * f64::from(1 << 30);
        let parts = PartBytes::of_run(&model, &run).split(&[free, free]);
        assert_eq!(layers(&parts), [40, 40]);
        assert!(parts.iter().all(|part| part.bytes < 0.85 * part.free), "{parts:?}");
        let one = PartBytes::of_run(&model, &run).split(&[free]);
        assert!(one[0].bytes > one[0].free);
    }

    #[test]
    fn a_map_of_all_gpus_goes_with_no_single_one() {
        let check = |device: &str, processes| DeviceMapChoice::Auto.check(device.parse().unwrap(), processes);
        assert!(check("auto", 1).is_ok() && check("cuda", 1).is_ok() && check("cpu", 1).is_ok());
        let error = check("cuda:1", 1).unwrap_err();
        assert!(error.is_usage() && error.to_string().contains("cuda:1"), "{error}");
        assert!(check("auto", 2).unwrap_err().to_string().contains("2 processes"));
        assert!(DeviceMapChoice::None.check("cuda:1".parse().unwrap(), 2).is_ok());
    }
}
