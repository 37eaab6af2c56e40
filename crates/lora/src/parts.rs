//! What a saved adapter makes of a model: tensors in place of the base's, and low-rank changes of weights.

use std::path::Path;

use nn_core::ModulePath;
use tch::Tensor;
use weights::{atomic_write, pt_metadata, write_safetensors};

use crate::LoraConfig;
use crate::config::ADAPTER_CONFIG;
use crate::error::LoraError;
use crate::folder::ADAPTER_WEIGHTS;
use crate::initial::Initial;
use crate::key::{TOKEN_ROWS, tensor_name};
use crate::layer::AdapterLayer;

/// Values that an adapter holds in place of those of a base tensor.
#[derive(Debug)]
pub struct Replacement {
    /// Name of the tensor in the base, such as `lm_head.weight`.
    pub name: String,
    /// Rows that are replaced (`trainable_token_indices`). All where absent; there may then be more or fewer of them than in the
    /// base: another vocabulary.
    pub rows: Option<Vec<i64>>,
    /// The values of those rows.
    pub values: Tensor,
    /// True for a half of a tied pair that has the values of the other.
    pub(crate) is_twin: bool,
}

impl Replacement {
    /// Replaces a whole tensor.
    pub fn whole(name: String, values: Tensor) -> Self {
        Self { name, rows: None, values, is_twin: false }
    }

    /// Returns the module of the tensor, and `weight` or `bias`.
    pub fn module(&self) -> (&str, &str) {
        self.name.rsplit_once('.').unwrap_or((&self.name, ""))
    }

    /// Returns true for a half of a tied pair that has the values of the other.
    pub fn is_twin(&self) -> bool {
        self.is_twin
    }

    /// Returns the name in PEFT's file.
    pub(crate) fn file_name(&self) -> String {
        match &self.rows {
            None => tensor_name(&self.name),
            Some(_) => tensor_name(&format!("{}.{TOKEN_ROWS}", self.module().0)),
        }
    }

    /// Returns true when PEFT's file holds it: rows of tokens stand there once, for both halves of a tied pair.
    pub(crate) fn is_written(&self) -> bool {
        !self.is_twin || self.rows.is_none()
    }

    /// Returns the same values for another tensor: the other half of a tied pair.
    pub(crate) fn twin(&self, name: String) -> Self {
        Self { name, is_twin: true, ..self.shallow_clone() }
    }

    /// Clones the handle of the values.
    #[must_use]
    pub fn shallow_clone(&self) -> Self {
        let Self { name, rows, values, is_twin } = self;
        Self { name: name.clone(), rows: rows.clone(), values: values.shallow_clone(), is_twin: *is_twin }
    }
}

/// The changes that an adapter makes to a model. The replacements come first; the layers change what is then there.
#[derive(Debug, Default)]
pub struct AdapterParts {
    /// Low-rank changes of weights, in the model's order.
    pub layers: Vec<AdapterLayer>,
    /// Tensors in place of the base's.
    pub replaced: Vec<Replacement>,
}

impl From<Vec<AdapterLayer>> for AdapterParts {
    fn from(layers: Vec<AdapterLayer>) -> Self {
        Self { layers, replaced: Vec::new() }
    }
}

impl AdapterParts {
    /// Writes `adapter_config.json` and `adapter_model.safetensors` into `dir`, each atomically.
    ///
    /// # Errors
    /// [`LoraError`] when the disk refuses.
    pub fn write(&self, dir: &Path, config: &LoraConfig) -> Result<(), LoraError> {
        let mut named = Vec::new();
        for layer in &self.layers {
            named.extend(layer.file_tensors()?);
        }
        let own = self.replaced.iter().filter(|replaced| replaced.is_written());
        named.extend(own.map(|replaced| (self.name_to_write(replaced), replaced.values.shallow_clone())));
        let named: Vec<(String, &Tensor)> =
            named.iter().map(|(name, tensor)| (name.clone(), tensor)).collect();
        write_safetensors(&dir.join(ADAPTER_WEIGHTS), &named, &pt_metadata())?;
        let path = dir.join(ADAPTER_CONFIG);
        let config = LoraConfig { inference_mode: true, ..config.clone() };
        let text = serde_json::to_string_pretty(&config)
            .map_err(|source| LoraError::Parse { path: path.clone(), source })?;
        atomic_write(&path, |file| file.write_all(text.as_bytes()))?;
        Ok(())
    }

    /// Returns the name that PEFT loads a replacement by: of a module that has factors too, the layer below them.
    fn name_to_write(&self, replaced: &Replacement) -> String {
        let (module, part) = replaced.module();
        let has_factors = self.layers.iter().any(|layer| layer.path.as_str() == module);
        if has_factors && replaced.rows.is_none() {
            tensor_name(&format!("{module}.base_layer.{part}"))
        } else {
            replaced.file_name()
        }
    }

    /// Returns true when `embedding` and `head`, one tensor in the base, are two behind this adapter.
    pub fn unties(&self, embedding: &ModulePath, head: &ModulePath) -> bool {
        let replaced = |path: &ModulePath| {
            let name = format!("{path}.weight");
            self.replaced.iter().find(|replaced| replaced.name == name)
        };
        let layer = |path: &ModulePath| self.layers.iter().find(|layer| layer.path == *path);
        let same_values = match (replaced(embedding), replaced(head)) {
            (None, None) => true,
            (Some(a), Some(b)) => a.rows == b.rows && (a.is_twin || b.is_twin || a.values == b.values),
            _ => false,
        };
        let same_change = match (layer(embedding), layer(head)) {
            (None, None) => true,
            (Some(a), Some(b)) => a.is_twin_of(b),
            _ => false,
        };
        !(same_values && same_change)
    }

    /// Gives the layers what an initialisation took out of the base: they then belong to the base as it is on disk. `weight`
    /// returns the base's weight of a layer, `[out, in]`.
    ///
    /// # Errors
    /// The errors of `weight`, and [`LoraError::Nn`] when libtorch fails.
    pub fn on_base(
        mut self,
        mut weight: impl FnMut(&AdapterLayer) -> Result<Tensor, LoraError>,
    ) -> Result<Self, LoraError> {
        for layer in self.layers.iter_mut().filter(|layer| layer.initial() != Initial::Nothing) {
            let weight = weight(layer)?;
            *layer = layer.on_base(&weight)?;
        }
        Ok(self)
    }
}
