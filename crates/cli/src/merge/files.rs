//! The files of a format, begun and filled.

use std::time::{Duration, Instant};

use ::merge::{Base as MergeBase, Deltas, Layout, Proof, merge};
use anyhow::Result;
use nn_core::{LinearSource, NnError};
use tch::{Device, Tensor};
use weights::TensorStream;

use crate::base::BaseWeights;

/// How often a long merge says how far it is.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// What is done to base weights before a delta is added, by name.
pub(crate) type Prepare<'a> = &'a dyn Fn(&str, Tensor) -> Result<Tensor, NnError>;

/// Base weights as they are stored.
#[expect(clippy::unnecessary_wraps, reason = "a `Prepare`, and others of those may fail")]
pub(crate) fn as_stored(_name: &str, weight: Tensor) -> Result<Tensor, NnError> {
    Ok(weight)
}

/// What flows into files.
pub(crate) struct Flow<'a> {
    pub(crate) weights: &'a BaseWeights<'a>,
    pub(crate) prepare: Prepare<'a>,
    pub(crate) deltas: &'a Deltas,
}

impl Flow<'_> {
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
