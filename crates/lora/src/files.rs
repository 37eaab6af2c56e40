//! Adapter directories as PEFT writes and reads them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use nn_core::{TorchContext, VisitLinears};
use tch::Tensor;
use weights::{TensorStore, atomic_write, write_safetensors};

use crate::{AdapterLayer, LoraAdapters, LoraConfig, LoraError};

/// The hyper-parameters of an adapter directory.
pub const ADAPTER_CONFIG: &str = "adapter_config.json";

/// The tensors of an adapter directory.
pub const ADAPTER_WEIGHTS: &str = "adapter_model.safetensors";

/// The tensors as PEFT wrote them before safetensors.
const ADAPTER_WEIGHTS_BIN: &str = "adapter_model.bin";

/// What [`verify_saved`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedAdapter {
    /// The file of tensors.
    pub path: PathBuf,
    /// How many tensors it holds.
    pub num_tensors: usize,
    /// How many numbers.
    pub num_parameters: usize,
}

impl LoraAdapters {
    /// Attaches the adapter saved in `dir` to `model`, frozen as a base or trainable as the caller likes.
    ///
    /// # Errors
    /// [`LoraError::MissingKeys`] and [`LoraError::UnusedKeys`] when file and model do not name the same layers; other
    /// [`LoraError`]s when the directory is no adapter.
    pub fn load(model: &mut dyn VisitLinears, dir: &Path) -> Result<Self, LoraError> {
        let config = LoraConfig::from_dir(dir)?;
        let adapters = Self::attach(model, &config, 0)?;
        adapters.restore(dir)?;
        Ok(adapters)
    }

    /// Writes `adapter_config.json` and `adapter_model.safetensors` into `dir`, each atomically.
    ///
    /// # Errors
    /// [`LoraError`] when the disk refuses.
    pub fn save(&self, dir: &Path) -> Result<(), LoraError> {
        save_adapter(dir, self.config(), self.layers())
    }

    /// Replaces the factors by those saved in `dir`, of the same layers and ranks: all of them, or on an error none.
    ///
    /// # Errors
    /// As [`LoraAdapters::load`].
    pub fn restore(&self, dir: &Path) -> Result<(), LoraError> {
        let file = Saved::open(dir)?;
        let parameters = self.parameters();
        file.expect(parameters.iter().map(|(name, _)| name.clone()), parameters.len())?;
        let mut pairs = Vec::with_capacity(parameters.len());
        for (name, parameter) in &parameters {
            let saved = file.take(name)?;
            if saved.size() != parameter.size() {
                let (actual, expected) = (saved.size(), parameter.size());
                return Err(LoraError::Shape { name: name.clone(), actual, expected });
            }
            pairs.push((parameter, saved));
        }
        for (parameter, saved) in pairs {
            tch::no_grad(|| parameter.shallow_clone().f_copy_(&saved)).op("copy_")?;
        }
        Ok(())
    }
}

/// Writes `adapter_config.json` and `adapter_model.safetensors` into `dir`, each atomically.
///
/// # Errors
/// [`LoraError`] when the disk refuses.
pub fn save_adapter(dir: &Path, config: &LoraConfig, layers: &[AdapterLayer]) -> Result<(), LoraError> {
    let named: Vec<(String, &Tensor)> =
        layers.iter().flat_map(|layer| [(layer.key("A"), &layer.a), (layer.key("B"), &layer.b)]).collect();
    let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    write_safetensors(&dir.join(ADAPTER_WEIGHTS), &named, &metadata)?;
    let path = dir.join(ADAPTER_CONFIG);
    let config = LoraConfig { inference_mode: true, ..config.clone() };
    let text = serde_json::to_string_pretty(&config)
        .map_err(|source| LoraError::Parse { path: path.clone(), source })?;
    atomic_write(&path, |file| file.write_all(text.as_bytes()))?;
    Ok(())
}

/// A file of factors, under the names PEFT gives them.
pub(crate) struct Saved {
    pub(crate) path: PathBuf,
    store: TensorStore,
    /// Today's name to the file's own.
    in_file: BTreeMap<String, String>,
}

impl Saved {
    pub(crate) fn open(dir: &Path) -> Result<Self, LoraError> {
        let (path, store) = open(dir)?;
        let in_file = store.names().map(|name| (without_adapter_name(name), name.to_owned())).collect();
        Ok(Self { path, store, in_file })
    }

    /// Checks that the file holds the `expected` tensors `wanted`, and no others.
    pub(crate) fn expect(
        &self,
        wanted: impl Iterator<Item = String>,
        expected: usize,
    ) -> Result<(), LoraError> {
        let wanted: BTreeSet<String> = wanted.collect();
        let missing: Vec<&String> = wanted.iter().filter(|name| !self.in_file.contains_key(*name)).collect();
        let path = self.path.clone();
        if let Some(&first) = missing.first() {
            return Err(LoraError::MissingKeys {
                path,
                count: missing.len(),
                expected,
                first: first.clone(),
            });
        }
        let unused: Vec<&String> = self.in_file.keys().filter(|name| !wanted.contains(*name)).collect();
        match unused.first() {
            Some(&first) => Err(LoraError::UnusedKeys { path, count: unused.len(), first: first.clone() }),
            None => Ok(()),
        }
    }

    /// The tensor of this name, looking at the file.
    pub(crate) fn take(&self, name: &str) -> Result<Tensor, LoraError> {
        Ok(self.store.tensor(self.in_file.get(name).map_or(name, String::as_str))?)
    }
}

/// Reads a saved adapter back and checks that it is whole and does something: every tensor there, of the right shape,
/// no `lora_B` all zero.
///
/// # Errors
/// [`LoraError`] naming the first thing that is wrong.
pub fn verify_saved(adapters: &LoraAdapters, dir: &Path) -> Result<SavedAdapter, LoraError> {
    let (path, store) = open(dir)?;
    let parameters = adapters.parameters();
    let mut zero = Vec::new();
    for (name, parameter) in &parameters {
        if !store.contains(name) {
            let first = name.clone();
            return Err(LoraError::MissingKeys { path, count: 1, expected: parameters.len(), first });
        }
        let saved = store.tensor(name)?;
        if saved.size() != parameter.size() {
            let (actual, expected) = (saved.size(), parameter.size());
            return Err(LoraError::Shape { name: name.clone(), actual, expected });
        }
        if name.contains(".lora_B.") && saved.f_count_nonzero(None).op("count_nonzero")?.int64_value(&[]) == 0
        {
            zero.push(name.clone());
        }
    }
    if let Some(first) = zero.first().cloned() {
        return Err(LoraError::ZeroB { path, count: zero.len(), expected: parameters.len() / 2, first });
    }
    let num_parameters = adapters.num_parameters();
    Ok(SavedAdapter { path, num_tensors: store.names().count(), num_parameters })
}

fn open(dir: &Path) -> Result<(PathBuf, TensorStore), LoraError> {
    let safetensors = dir.join(ADAPTER_WEIGHTS);
    let bin = dir.join(ADAPTER_WEIGHTS_BIN);
    let path = if !safetensors.exists() && bin.exists() { bin } else { safetensors };
    let store = TensorStore::open_file(&path)?;
    Ok((path, store))
}

/// Some versions of PEFT left the adapter's name in the keys: `lora_A.default.weight`.
fn without_adapter_name(key: &str) -> String {
    for factor in ["lora_A", "lora_B"] {
        if let Some((before, after)) = key.split_once(&format!(".{factor}."))
            && after != "weight"
            && after.ends_with(".weight")
        {
            return format!("{before}.{factor}.weight");
        }
    }
    key.to_owned()
}

#[cfg(test)]
mod tests {
    use super::without_adapter_name;

    #[test]
    fn an_adapter_name_in_a_key_is_dropped() {
        let key = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight";
        assert_eq!(without_adapter_name(key), key);
        assert_eq!(without_adapter_name(&key.replace("lora_A", "lora_A.default")), key);
    }
}
