//! A frozen model with a low-rank adapter that trains.

use std::path::Path;

use llama_model::Llama;
use lora::{LoraAdapters, LoraConfig};
use nn_core::{
    BoxError, CausalLm, DecodeSession, Mode, NnError, SharedLeaves, SharedLoss, TokenBatch, Trainable,
    UnknownSettings,
};
use tch::{Kind, Tensor};
use trainer::TrainConfig;

use crate::FinetuneError;

/// A frozen base with an adapter on its linear layers (LoRA, arXiv 2106.09685).
///
/// It is what a `Trainer` trains and what generates text; [`LoraModel::save`] writes what PEFT reads.
#[derive(Debug)]
pub struct LoraModel {
    model: Llama,
    adapters: LoraAdapters,
}

impl LoraModel {
    /// Attaches a fresh adapter, drawn with the seed of [`TrainConfig::default`].
    ///
    /// # Errors
    /// [`FinetuneError::Lora`] when the configuration is wrong or a target matches no layer.
    pub fn attach(model: Llama, config: &LoraConfig) -> Result<Self, FinetuneError> {
        Self::attach_with_seed(model, config, TrainConfig::default().seed)
    }

    /// Attaches a fresh adapter whose factors are a function of `seed` and the layers' names.
    ///
    /// # Errors
    /// As [`LoraModel::attach`].
    pub fn attach_with_seed(model: Llama, config: &LoraConfig, seed: u64) -> Result<Self, FinetuneError> {
        Self::attach_resized(model, config, seed, None)
    }

    /// Attaches a fresh adapter as [`LoraModel::attach_with_seed`] does, to a model whose vocabulary grows to `vocab_size` rows.
    ///
    /// # Errors
    /// As [`LoraModel::attach`], and when embedding or head is no module to save.
    pub fn attach_resized(
        mut model: Llama,
        config: &LoraConfig,
        seed: u64,
        vocab_size: Option<i64>,
    ) -> Result<Self, FinetuneError> {
        let adapters = LoraAdapters::attach_resized(&mut model, config, seed, vocab_size)?;
        Ok(Self { model, adapters })
    }

    /// Joins a model and the adapter that is attached to it.
    pub fn new(model: Llama, adapters: LoraAdapters) -> Self {
        Self { model, adapters }
    }

    /// Attaches the adapter saved in the directory `dir`.
    ///
    /// # Errors
    /// [`FinetuneError::Adapter`] when it cannot be read or does not fit the model.
    pub fn load(model: Llama, dir: impl AsRef<Path>) -> Result<Self, FinetuneError> {
        Self::load_with(model, dir, UnknownSettings::Refuse)
    }

    /// Attaches the adapter saved in the directory `dir`, and takes a stance on unknown keys of its configuration.
    ///
    /// # Errors
    /// As [`LoraModel::load`].
    pub fn load_with(
        mut model: Llama,
        dir: impl AsRef<Path>,
        unknown: UnknownSettings,
    ) -> Result<Self, FinetuneError> {
        let dir = dir.as_ref();
        match LoraAdapters::load_with(&mut model, dir, unknown) {
            Ok(adapters) => Ok(Self { model, adapters }),
            Err(source) => Err(FinetuneError::Adapter { dir: dir.to_owned(), source: Box::new(source) }),
        }
    }

    /// Starts from the values of the adapter saved in the directory `dir`, which peft may have written.
    ///
    /// # Errors
    /// [`FinetuneError::Adapter`] when it cannot be read, or is one of other layers or of another base.
    pub fn start_from(&mut self, dir: &Path, unknown: UnknownSettings) -> Result<(), FinetuneError> {
        let started = self.adapters.start_from(&mut self.model, dir, unknown);
        started.map_err(|source| FinetuneError::Adapter { dir: dir.to_owned(), source: Box::new(source) })
    }

    /// Returns the model, adapter included.
    pub fn model(&self) -> &Llama {
        &self.model
    }

    /// Returns the adapter.
    pub fn adapters(&self) -> &LoraAdapters {
        &self.adapters
    }

    /// Returns the model, adapter included, by value; the adapter then trains no more.
    pub fn into_model(self) -> Llama {
        self.model
    }

    /// Writes `adapter_config.json` and `adapter_model.safetensors` into the directory `dir`, which is made if it is
    /// missing.
    ///
    /// # Errors
    /// [`FinetuneError::Io`] and [`FinetuneError::Lora`] when the disk refuses.
    pub fn save(&self, dir: impl AsRef<Path>) -> Result<(), FinetuneError> {
        let dir = dir.as_ref();
        crate::error::create_dir(dir)?;
        Ok(self.adapters.save(dir)?)
    }
}

impl Trainable for LoraModel {
    fn parameters(&self) -> Vec<(String, Tensor)> {
        self.adapters.parameters()
    }

    fn loss_sum(&self, batch: &TokenBatch, mode: Mode) -> Result<Tensor, BoxError> {
        Ok(self.model.loss_sum(batch, mode)?)
    }

    fn share(&self, leaves: &SharedLeaves) -> Option<SharedLoss> {
        Some(self.model.shared_loss(leaves))
    }

    fn activations(&self) -> Kind {
        self.model.kind()
    }

    fn frozen_not_finite(&self) -> Result<Vec<String>, BoxError> {
        Ok(self.model.find_not_finite()?.into_iter().collect())
    }

    fn save(&self, dir: &Path) -> Result<(), BoxError> {
        Ok(self.adapters.save(dir)?)
    }

    fn restore(&self, dir: &Path) -> Result<(), BoxError> {
        Ok(self.adapters.restore(dir)?)
    }
}

impl CausalLm for LoraModel {
    fn vocab_size(&self) -> usize {
        self.model.vocab_size()
    }

    fn max_len(&self) -> usize {
        self.model.max_len()
    }

    fn first_not_finite(&self) -> Result<Option<String>, NnError> {
        self.model.first_not_finite()
    }

    fn open(&self, rows: usize, capacity: usize) -> Result<Box<dyn DecodeSession + '_>, NnError> {
        self.model.open(rows, capacity)
    }
}

/// Attaches the adapter saved in `dir` where there is one, for a model that only computes.
///
/// # Errors
/// As [`LoraModel::load_with`].
pub(crate) fn with_adapter(
    model: Llama,
    dir: Option<&Path>,
    unknown: UnknownSettings,
) -> Result<Llama, FinetuneError> {
    Ok(match dir {
        Some(dir) => LoraModel::load_with(model, dir, unknown)?.into_model(),
        None => model,
    })
}
