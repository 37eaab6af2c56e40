//! Carrying out a merge: tensors into files of an unfinished directory, which appears as a whole.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use llama_model::LlamaConfig;
use merge::{BaseTensors, Merged, Placement, Proof, merge};
use nn_core::NnError;
use qlora_nf4::Quantization;
use tch::{Device, Kind, Tensor};
use weights::{AtomicDir, TensorStream};

use crate::linears::linear_weights;
use crate::{CheckpointError, MergePlan};

/// Time between two notes on how far a long merge is.
const NOTE_EVERY: Duration = Duration::from_secs(10);

/// Written files that have not taken their name yet. Dropped without [`MergedFiles::commit`], they are removed.
#[derive(Debug)]
pub struct MergedFiles {
    dir: AtomicDir,
    target: PathBuf,
    proof: Proof,
}

impl MergePlan<'_> {
    /// Writes the model under a temporary name beside its directory, after clearing away what processes that died left
    /// there. Every layer that an adapter names has changed and nothing else has, or this fails.
    ///
    /// # Errors
    /// Those of [`crate::Format::write`].
    pub fn write(&self) -> Result<MergedFiles, CheckpointError> {
        let output_dir = self.output_dir();
        let dir = AtomicDir::create(output_dir)?;
        let read = |source| CheckpointError::Read { path: output_dir.to_owned(), source };
        if let Some(parent) = std::path::absolute(output_dir).map_err(read)?.parent() {
            for path in AtomicDir::clean_stale(parent)? {
                tracing::info!("cleared away `{}`, which a process that died had left", path.display());
            }
        }
        let proof = self.settings().format.write(dir.path(), self)?;
        Ok(MergedFiles { dir, target: output_dir.to_owned(), proof })
    }

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
            self.with_base(|base| Ok(merge(base, self.deltas(), placements, &mut files, &mut note)?))?;
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
            let mut merged = Merged::new(base, self.deltas());
            write(&mut merged)?;
            Ok(merged.finish()?)
        })
    }

    /// Opens the base's tensors for `run`, prepared as the settings say.
    fn with_base<T>(
        &self,
        run: impl FnOnce(&BaseTensors<'_>) -> Result<T, CheckpointError>,
    ) -> Result<T, CheckpointError> {
        let source = self.base().source(Device::Cpu, None)?;
        let prepare = prepared(&self.base().config, self.settings().base_quantization);
        run(&BaseTensors { source: &*source, prepare: &prepare })
    }
}

impl MergedFiles {
    /// Returns the directory in which the files lie until the commit; it can be opened as a model.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Returns what changed, layer by layer.
    pub fn proof(&self) -> &Proof {
        &self.proof
    }

    /// Gives the directory its name.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn commit(self) -> Result<Proof, CheckpointError> {
        if self.target.exists() {
            self.dir.commit_replacing()?;
        } else {
            self.dir.commit()?;
        }
        Ok(self.proof)
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
            Ok(quantization.round_trip(&weight, Kind::Float)?)
        }
        _ => Ok(weight),
    }
}
