//! The files of a format, begun and filled.

use std::time::{Duration, Instant};

use ::merge::{Base as MergeBase, Deltas, Layout, Merged, Proof, merge};
use anyhow::Result;
use llama_model::LlamaConfig;
use nn_core::{LinearSource, NnError};
use qlora_nf4::Quantization;
use tch::{Device, Kind, Tensor};
use weights::TensorStream;

use super::adapters::linear_weights;
use checkpoint::BaseWeights;

/// How often a long merge says how far it is.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// What is done to base weights before a delta is added, by name.
pub(crate) type Prepare<'a> = &'a dyn Fn(&str, Tensor) -> Result<Tensor, NnError>;

/// A [`Prepare`]: the linear layers of a model of this shape there and back through `quantization`, as finetune quantises
/// them, in float32, so that the sum is rounded once; without one, everything as it is stored.
pub(crate) fn prepared(
    config: &LlamaConfig,
    quantization: Option<Quantization>,
) -> impl Fn(&str, Tensor) -> Result<Tensor, NnError> {
    let quantised = quantization.map(|quantization| (quantization, linear_weights(config)));
    move |name, weight| match &quantised {
        Some((quantization, names)) if names.contains(name) => {
            Ok(quantization.round_trip(&weight, Kind::Float)?)
        }
        _ => Ok(weight),
    }
}

/// What flows into files.
pub(crate) struct Flow<'a> {
    pub(crate) weights: &'a BaseWeights<'a>,
    pub(crate) prepare: Prepare<'a>,
    pub(crate) deltas: &'a Deltas,
}

impl Flow<'_> {
    /// Has `write` take what it wants of the merged tensors.
    pub(crate) fn take(&self, write: impl FnOnce(&mut Merged<'_>) -> Result<()>) -> Result<Proof> {
        let source = self.weights.source(Device::Cpu, None);
        let base = MergeBase { source: &source as &dyn LinearSource, prepare: self.prepare };
        let mut merged = Merged::new(&base, self.deltas);
        write(&mut merged)?;
        Ok(merged.finish()?)
    }

    /// Fills `files` and, once the proof holds, gives them their names.
    pub(crate) fn fill(&self, layout: &Layout, mut files: Vec<TensorStream>) -> Result<Proof> {
        let source = self.weights.source(Device::Cpu, None);
        let base = MergeBase { source: &source as &dyn LinearSource, prepare: self.prepare };
        let (count, mut done, mut told) = (layout.0.len(), 0, Instant::now());
        let mut tell = |_: &str| {
            done += 1;
            if told.elapsed() > TELL_EVERY {
                told = Instant::now();
                tracing::info!("{done} of {count} tensors");
            }
        };
        let proof = merge(&base, self.deltas, layout, &mut files, &mut tell)?;
        for file in files {
            file.finish()?;
        }
        Ok(proof)
    }
}
