//! Adapter directories as PEFT writes and reads them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use nn_core::TorchContext;
use tch::Tensor;
use weights::{TensorStore, atomic_write, pt_metadata, write_safetensors};

use crate::config::{ADAPTER_CONFIG, LoraConfig};
use crate::error::LoraError;
use crate::layer::AdapterLayer;
use crate::target::{LinearShape, Target, resolve};
use crate::variant::{LayerTensors, Variant};

/// Name of the file of tensors in an adapter directory.
pub(crate) const ADAPTER_WEIGHTS: &str = "adapter_model.safetensors";

/// Name of that file before PEFT wrote safetensors.
const ADAPTER_WEIGHTS_BIN: &str = "adapter_model.bin";

/// A saved adapter: configuration and tensors, not attached to a model.
#[derive(Debug)]
pub struct Adapter {
    config: LoraConfig,
    variant: &'static dyn Variant,
    path: PathBuf,
    /// By the names PEFT gives them today; they look at the mapped file.
    tensors: BTreeMap<String, Tensor>,
}

impl Adapter {
    /// Reads the adapter in `dir`. The tensors look at the mapped file, in the precision they are stored in.
    ///
    /// # Errors
    /// [`LoraError`] when the directory is no adapter, asks for something that is not supported, or holds a tensor that is
    /// not finite.
    pub fn read(dir: &Path) -> Result<Self, LoraError> {
        let config = LoraConfig::from_dir(dir)?;
        let variant = config.variant.get()?;
        let safetensors = dir.join(ADAPTER_WEIGHTS);
        let bin = dir.join(ADAPTER_WEIGHTS_BIN);
        let path = if !safetensors.exists() && bin.exists() { bin } else { safetensors };
        let store = TensorStore::open_file(&path)?;
        let mut tensors = BTreeMap::new();
        for stored in store.names() {
            let name = without_adapter_name(stored, variant);
            let tensor = store.tensor(stored)?;
            if tensor.f_isfinite().op("isfinite")?.f_all().op("all")?.int64_value(&[]) == 0 {
                return Err(LoraError::NotFinite { path, name });
            }
            tensors.insert(name, tensor);
        }
        Ok(Self { config, variant, path, tensors })
    }

    /// Writes an adapter of these layers into `dir`: `adapter_config.json` and `adapter_model.safetensors`, each atomically.
    ///
    /// # Errors
    /// [`LoraError`] when the disk refuses.
    pub fn write(dir: &Path, config: &LoraConfig, layers: &[AdapterLayer]) -> Result<(), LoraError> {
        let named: Vec<(String, &Tensor)> = layers.iter().flat_map(AdapterLayer::named_tensors).collect();
        write_safetensors(&dir.join(ADAPTER_WEIGHTS), &named, &pt_metadata())?;
        let path = dir.join(ADAPTER_CONFIG);
        let config = LoraConfig { inference_mode: true, ..config.clone() };
        let text = serde_json::to_string_pretty(&config)
            .map_err(|source| LoraError::Parse { path: path.clone(), source })?;
        atomic_write(&path, |file| file.write_all(text.as_bytes()))?;
        Ok(())
    }

    /// The hyper-parameters.
    pub fn config(&self) -> &LoraConfig {
        &self.config
    }

    /// Returns the adapted layers of a model whose linear layers are `linears`, in their order.
    ///
    /// # Errors
    /// [`LoraError`] when the adapter is not one for this model: a target that matches nothing, a tensor that is missing or
    /// taken by no layer, another shape.
    pub fn layers(&self, linears: &[LinearShape]) -> Result<Vec<AdapterLayer>, LoraError> {
        let targets = resolve(&self.config, linears)?;
        let expected = targets.iter().flat_map(Target::tensors).collect();
        let mut tensors = self.take(expected)?.into_iter();
        let layers = targets.into_iter().map(|target| {
            let own = tensors.by_ref().take(self.variant.tensors().len()).collect();
            AdapterLayer {
                path: target.path,
                variant: self.variant,
                tensors: LayerTensors { tensors: own, scale: target.scale },
            }
        });
        Ok(layers.collect())
    }

    /// Returns the layers as [`Adapter::layers`] does, and checks that each of them does something.
    ///
    /// # Errors
    /// The errors of [`Adapter::layers`]; [`LoraError::ZeroB`] when a `lora_B` is all zero.
    pub fn trained_layers(&self, linears: &[LinearShape]) -> Result<Vec<AdapterLayer>, LoraError> {
        let layers = self.layers(linears)?;
        self.check_trained()?;
        Ok(layers)
    }

    /// Returns the tensors of these names and shapes, in this order, and checks that there are no others.
    pub(crate) fn take(&self, expected: Vec<(String, Vec<i64>)>) -> Result<Vec<Tensor>, LoraError> {
        let missing: Vec<&String> =
            expected.iter().map(|(name, _)| name).filter(|name| !self.tensors.contains_key(*name)).collect();
        let path = self.path.clone();
        if let Some(&first) = missing.first() {
            let (count, first) = (missing.len(), first.clone());
            return Err(LoraError::MissingKeys { path, count, expected: expected.len(), first });
        }
        let wanted: BTreeSet<&String> = expected.iter().map(|(name, _)| name).collect();
        let unused: Vec<&String> = self.tensors.keys().filter(|name| !wanted.contains(name)).collect();
        if let Some(&first) = unused.first() {
            return Err(LoraError::UnusedKeys { path, count: unused.len(), first: first.clone() });
        }
        let mut taken = Vec::with_capacity(expected.len());
        for (name, expected) in expected {
            let Some(tensor) = self.tensors.get(&name) else { continue };
            if tensor.size() != expected {
                return Err(LoraError::Shape { name, actual: tensor.size(), expected });
            }
            taken.push(tensor.shallow_clone());
        }
        Ok(taken)
    }

    /// Checks that no tensor which starts at zero still is.
    pub(crate) fn check_trained(&self) -> Result<(), LoraError> {
        let zero_at_first = |name: &str| {
            self.variant.tensors().iter().any(|spec| spec.starts_at_zero && name.ends_with(spec.suffix))
        };
        let (mut zero, mut count) = (Vec::new(), 0);
        for (name, tensor) in self.tensors.iter().filter(|(name, _)| zero_at_first(name)) {
            count += 1;
            if tensor.f_count_nonzero(None).op("count_nonzero")?.int64_value(&[]) == 0 {
                zero.push(name);
            }
        }
        let Some(&first) = zero.first() else { return Ok(()) };
        let (path, first) = (self.path.clone(), first.clone());
        Err(LoraError::ZeroB { path, count: zero.len(), expected: count, first })
    }
}

/// Returns the name of a tensor as PEFT writes it today: some versions left the adapter's name in it, as in
/// `lora_A.default.weight`.
fn without_adapter_name(key: &str, variant: &dyn Variant) -> String {
    for spec in variant.tensors() {
        let (stem, ending) = spec.suffix.split_once('.').unwrap_or((spec.suffix, ""));
        if let Some((before, after)) = key.split_once(&format!(".{stem}."))
            && after.ends_with(ending)
        {
            return format!("{before}.{}", spec.suffix);
        }
    }
    key.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::variants::LORA;

    #[test]
    fn an_adapter_name_in_a_key_is_dropped() {
        let key = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight";
        assert_eq!(without_adapter_name(key, LORA), key);
        assert_eq!(without_adapter_name(&key.replace("lora_A", "lora_A.default"), LORA), key);
        let other = key.replace("weight", "bias");
        assert_eq!(without_adapter_name(&other, LORA), other);
    }
}
