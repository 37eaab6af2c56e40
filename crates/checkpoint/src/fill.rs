//! Merged tensors, streamed into files or given whole.

use std::time::{Duration, Instant};

use llama_model::LlamaConfig;
use merge::{BaseTensors, Merged, Placement, Proof, merge};
use nn_core::NnError;
use qlora_nf4::Quantization;
use tch::{Device, Kind, Tensor};
use weights::TensorStream;

use crate::CheckpointError;
use crate::head_of_embedding::HeadOfEmbedding;
use crate::linears::linear_weights;
use crate::merged_model::MergedModel;

/// Time between two notes on how far a long merge is.
const NOTE_EVERY: Duration = Duration::from_secs(10);

impl MergedModel<'_> {
    /// Fills `files` with the merged tensors and finishes them once the proof holds.
    pub(crate) fn fill(
        &self,
        placements: &[Placement],
        mut files: Vec<TensorStream>,
    ) -> Result<Proof, CheckpointError> {
        let (count, mut done, mut noted) = (placements.len(), 0, Instant::now());
        let mut note = |_: &str| {
            done += 1;
            if noted.elapsed() > NOTE_EVERY {
                noted = Instant::now();
                tracing::info!("{done} of {count} tensors");
            }
        };
        let proof =
            self.with_base(|base| Ok(merge(base, &self.deltas, placements, &mut files, &mut note)?))?;
        for file in files {
            file.finish()?;
        }
        Ok(proof)
    }

    /// Gives whole merged tensors to `write`, in whatever order it asks for them.
    pub(crate) fn take(
        &self,
        write: impl FnOnce(&mut Merged<'_>) -> Result<(), CheckpointError>,
    ) -> Result<Proof, CheckpointError> {
        self.with_base(|base| {
            let mut merged = Merged::new(base, &self.deltas);
            write(&mut merged)?;
            Ok(merged.finish()?)
        })
    }

    /// Opens the base's tensors for `run`, prepared as the settings say.
    fn with_base<T>(
        &self,
        run: impl FnOnce(&BaseTensors<'_>) -> Result<T, CheckpointError>,
    ) -> Result<T, CheckpointError> {
        let source = HeadOfEmbedding::over(self.base, Device::Cpu, None)?;
        let prepare = prepared(&self.config, self.settings.base_quantization);
        run(&BaseTensors { source: &source, prepare: &prepare })
    }
}

/// Returns the function that every base weight goes through before a delta is added: the linear layers there and back
/// through `quantization`, as fine-tuning quantises them, in float32, so that the sum is rounded once; without one,
/// everything as it is stored.
fn prepared(
    config: &LlamaConfig,
    quantization: Option<Quantization>,
) -> impl Fn(&str, Tensor) -> Result<Tensor, NnError> {
    let quantised = quantization.map(|quantization| (quantization, linear_weights(config)));
    move |name, weight| match &quantised {
        Some((quantization, names)) if names.contains(name) => {
            Ok(quantization.round_trip(name, &weight, Kind::Float)?)
        }
        _ => Ok(weight),
    }
}
