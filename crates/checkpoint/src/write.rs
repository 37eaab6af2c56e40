//! Merging into a directory that appears as a whole.

use std::path::{Path, PathBuf};

use merge::Proof;
use weights::AtomicDir;

use crate::CheckpointError;
use crate::base::Base;
use crate::config::{AdapterDir, MergeConfig};
use crate::plan::MergePlan;

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
        let proof = self.settings().format.write(dir.path(), self.model())?;
        Ok(MergedFiles { dir, target: output_dir.to_owned(), proof })
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

impl Base {
    /// Adds `adapters` to the weights and writes the result into the directory `output_dir`, which appears complete or
    /// not at all, in any form: `&HuggingFace`, `&Gguf`, or a whole [`MergeConfig`]. Without an adapter the base is
    /// converted. Returns what changed, layer by layer.
    ///
    /// # Errors
    /// When the output may not take its name, an adapter does not fit, a layer of it changes nothing, the form has no
    /// place for the model, or the disk refuses.
    pub fn merge(
        &self,
        adapters: &[AdapterDir],
        config: impl Into<MergeConfig>,
        output_dir: impl AsRef<Path>,
    ) -> Result<Proof, CheckpointError> {
        self.plan_merge(adapters, config, output_dir)?.write()?.commit()
    }

    /// Decides a merge without writing anything: [`Base::merge`] in steps, for whom wants to look at them.
    ///
    /// # Errors
    /// Those of [`Base::merge`], as far as it shows before anything is written.
    pub fn plan_merge(
        &self,
        adapters: &[AdapterDir],
        config: impl Into<MergeConfig>,
        output_dir: impl AsRef<Path>,
    ) -> Result<MergePlan<'_>, CheckpointError> {
        MergePlan::new(self, adapters, config.into(), output_dir.as_ref())
    }
}
