//! What the trainer trains: an adapter on a frozen base, or a whole model.

use std::path::Path;

use llama_model::Llama;
use lora::LoraAdapters;
use nn_core::{Mode, TokenBatch, TorchContext};
use tch::{Kind, Tensor};
use trainer::{BoxError, Trainable};
use weights::{TensorStore, atomic_write, pt_metadata, write_safetensors};

/// The file of a whole model.
const MODEL_WEIGHTS: &str = "model.safetensors";

/// An adapter on a frozen model.
#[derive(Debug)]
pub struct LoraTask {
    /// The model, its base frozen.
    pub model: Llama,
    /// What trains.
    pub adapters: LoraAdapters,
}

impl Trainable for LoraTask {
    fn parameters(&self) -> Vec<(String, Tensor)> {
        self.adapters.parameters()
    }

    fn loss_sum(&self, batch: &TokenBatch, mode: Mode) -> Result<Tensor, BoxError> {
        Ok(self.model.loss_sum(batch, mode)?)
    }

    fn save(&self, dir: &Path) -> Result<(), BoxError> {
        Ok(self.adapters.save(dir)?)
    }

    fn restore(&self, dir: &Path) -> Result<(), BoxError> {
        Ok(self.adapters.restore(dir)?)
    }
}

/// A model of which every parameter trains.
#[derive(Debug)]
pub struct FullTask {
    /// The model.
    pub model: Llama,
    /// Its parameters under their checkpoint names, float32.
    pub parameters: Vec<(String, Tensor)>,
}

impl FullTask {
    /// Writes the weights in `kind` and the configuration into `dir`.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn export(&self, dir: &Path, kind: Kind) -> Result<(), BoxError> {
        let tensors = self
            .parameters
            .iter()
            .map(|(name, tensor)| Ok((name.clone(), tensor.f_to_kind(kind).op("to_kind")?.detach())))
            .collect::<Result<Vec<_>, BoxError>>()?;
        let named: Vec<(String, &Tensor)> =
            tensors.iter().map(|(name, tensor)| (name.clone(), tensor)).collect();
        write_safetensors(&dir.join(MODEL_WEIGHTS), &named, &pt_metadata())?;
        let mut config = self.model.config().clone();
        config.torch_dtype = Some(crate::device::kind_name(kind).to_owned());
        atomic_write(&dir.join("config.json"), |file| file.write_all(config.to_json().as_bytes()))?;
        Ok(())
    }
}

impl Trainable for FullTask {
    fn parameters(&self) -> Vec<(String, Tensor)> {
        self.parameters.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect()
    }

    fn loss_sum(&self, batch: &TokenBatch, mode: Mode) -> Result<Tensor, BoxError> {
        Ok(self.model.loss_sum(batch, mode)?)
    }

    fn save(&self, dir: &Path) -> Result<(), BoxError> {
        self.export(dir, Kind::Float)
    }

    fn restore(&self, dir: &Path) -> Result<(), BoxError> {
        let store = TensorStore::open_file(&dir.join(MODEL_WEIGHTS))?;
        for (name, parameter) in &self.parameters {
            let saved = store.tensor(name)?;
            tch::no_grad(|| parameter.shallow_clone().f_copy_(&saved)).op("copy_")?;
        }
        Ok(())
    }
}
