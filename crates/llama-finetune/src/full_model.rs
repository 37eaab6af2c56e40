//! A model of which every parameter trains.

use std::path::Path;

use llama_model::{Llama, LlamaConfig};
use nn_core::{
    BoxError, CausalLm, DecodeSession, Dtype, LinearSource, Mode, NnError, SharedLeaves, SharedLoss,
    TokenBatch, TorchContext, Trainable, all_finite,
};
use tch::{Kind, Tensor};
use weights::{TensorStore, WeightsError, atomic_write, pt_metadata, write_safetensors};

use crate::FinetuneError;

/// The file of the weights.
pub(crate) const MODEL_WEIGHTS: &str = "model.safetensors";

/// A model of which every parameter trains, in float32.
#[derive(Debug)]
pub struct FullModel {
    model: Llama,
    parameters: Vec<(String, Tensor)>,
}

impl FullModel {
    /// Builds a model of this shape whose weights start as `source` gives them.
    ///
    /// # Errors
    /// [`FinetuneError::Model`] when the source cannot give a tensor.
    pub fn load(config: &LlamaConfig, source: impl LinearSource) -> Result<Self, FinetuneError> {
        let source = weights::ParameterSource::new(source, Kind::Float);
        let model = Llama::load(config, &source)?;
        Ok(Self { model, parameters: source.into_parameters() })
    }

    /// Returns the model.
    pub fn model(&self) -> &Llama {
        &self.model
    }

    /// Returns the model, for settings of its forward pass.
    pub fn model_mut(&mut self) -> &mut Llama {
        &mut self.model
    }

    /// Returns the number of trained values.
    pub fn num_parameters(&self) -> usize {
        self.parameters.iter().map(|(_, tensor)| tensor.numel()).sum()
    }

    /// Writes `model.safetensors` in `kind` and `config.json` into the directory `dir`.
    ///
    /// # Errors
    /// [`FinetuneError::Weights`] when the disk refuses, or a weight is not finite in `kind`.
    pub fn export(&self, dir: &Path, kind: Kind) -> Result<(), FinetuneError> {
        let tensors = self
            .parameters
            .iter()
            .map(|(name, tensor)| {
                let rounded = tensor.f_to_kind(kind).op("to_kind")?.f_detach().op("detach")?;
                if !all_finite(&rounded)? {
                    let (path, name, dtype) = (dir.join(MODEL_WEIGHTS), name.clone(), Dtype::name_of(kind));
                    let limit = if kind == Kind::Half { 65_504.0 } else { f32::MAX };
                    return Err(WeightsError::Overflow { path, name, dtype, limit }.into());
                }
                Ok((name.clone(), rounded))
            })
            .collect::<Result<Vec<_>, FinetuneError>>()?;
        let named: Vec<(String, &Tensor)> =
            tensors.iter().map(|(name, tensor)| (name.clone(), tensor)).collect();
        write_safetensors(&dir.join(MODEL_WEIGHTS), &named, &pt_metadata())?;
        let text = config_json(self.model.config(), kind);
        Ok(atomic_write(&dir.join("config.json"), |file| file.write_all(text.as_bytes()))?)
    }
}

impl Trainable for FullModel {
    fn parameters(&self) -> Vec<(String, Tensor)> {
        self.parameters.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect()
    }

    fn loss_sum(&self, batch: &TokenBatch, mode: Mode) -> Result<Tensor, BoxError> {
        Ok(self.model.loss_sum(batch, mode)?)
    }

    fn share(&self, leaves: &SharedLeaves) -> Option<SharedLoss> {
        Some(self.model.shared_loss(leaves))
    }

    fn save(&self, dir: &Path) -> Result<(), BoxError> {
        Ok(self.export(dir, Kind::Float)?)
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

impl CausalLm for FullModel {
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

/// Returns the text of a `config.json` for weights in `kind`.
pub(crate) fn config_json(config: &LlamaConfig, kind: Kind) -> String {
    LlamaConfig { torch_dtype: Some(Dtype::name_of(kind).to_owned()), ..config.clone() }.to_json()
}
