//! Attaching adapters to a model, and the handle on what was attached.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nn_core::{LinearOp, ModulePath, NnError, TorchContext, VisitLinears, name_seed};
use tch::Tensor;

use crate::layer::AdapterLayer;
use crate::linear::AdaptedLinear;
use crate::saved::Adapter;
use crate::target::{LinearShape, Target, resolve};
use crate::variant::{LayerTensors, NewLayer, WeightCache};
use crate::{LoraConfig, LoraError};

/// The adapters of a model: what is trained, saved and merged.
#[derive(Debug)]
pub struct LoraAdapters {
    config: LoraConfig,
    layers: Vec<AdapterLayer>,
    enabled: Arc<AtomicBool>,
}

impl LoraAdapters {
    /// Wraps every layer of `model` that `config` names in a new, trainable adapter with PEFT's initial values, float32;
    /// those of a layer depend on `seed` and its path only. A new adapter changes nothing.
    ///
    /// # Errors
    /// [`LoraError`] when the configuration is wrong or a target matches nothing; the model is then unchanged.
    pub fn attach(model: &mut dyn VisitLinears, config: &LoraConfig, seed: u64) -> Result<Self, LoraError> {
        config.validate()?;
        let targets = resolve(config, &linears(model))?;
        let mut layers = Vec::with_capacity(targets.len());
        let mut failure = None;
        model.visit_linears_mut(&mut |path, slot| {
            if let Some(target) = targets.iter().find(|target| target.path == *path) {
                match fresh(target, slot.get(), seed) {
                    Ok(layer) => layers.push(layer),
                    Err(error) => failure = Some(error),
                }
            }
        });
        match failure {
            Some(error) => Err(error.into()),
            None => Ok(Self::wrap(model, config, layers)),
        }
    }

    /// Attaches the adapter saved in `dir` to `model`, frozen.
    ///
    /// # Errors
    /// [`LoraError::MissingKeys`] and [`LoraError::UnusedKeys`] when file and model do not name the same layers; other
    /// [`LoraError`]s when the directory is no adapter.
    pub fn load(model: &mut dyn VisitLinears, dir: &Path) -> Result<Self, LoraError> {
        let adapter = Adapter::read(dir)?;
        let layers = adapter.layers(&linears(model))?;
        Self::attach_layers(model, adapter.config(), &layers)
    }

    /// Wraps the layers of `model` that `layers` names: copies of these tensors, in float32, frozen.
    ///
    /// # Errors
    /// [`LoraError::UnknownTarget`] when the model lacks one of them.
    pub fn attach_layers(
        model: &mut dyn VisitLinears,
        config: &LoraConfig,
        layers: &[AdapterLayer],
    ) -> Result<Self, LoraError> {
        let mut ordered: Vec<AdapterLayer> = Vec::with_capacity(layers.len());
        let mut known = Vec::new();
        let mut failure = None;
        model.visit_linears_mut(&mut |path, slot| {
            known.push(path.clone());
            if let Some(layer) = layers.iter().find(|layer| layer.path == *path) {
                match layer.frozen_on(slot.get().device()) {
                    Ok(layer) => ordered.push(layer),
                    Err(error) => failure = Some(error),
                }
            }
        });
        if let Some(error) = failure {
            return Err(error.into());
        }
        if let Some(stray) = layers.iter().find(|layer| !known.contains(&layer.path)) {
            let known = known.iter().map(ModulePath::as_str).collect::<Vec<_>>().join(", ");
            return Err(LoraError::UnknownTarget { target: stray.path.to_string(), known });
        }
        Ok(Self::wrap(model, config, ordered))
    }

    /// Wraps the layers of `model` that `layers` names, which are in the model's order.
    fn wrap(model: &mut dyn VisitLinears, config: &LoraConfig, layers: Vec<AdapterLayer>) -> Self {
        let enabled = Arc::new(AtomicBool::new(true));
        let mut next = layers.iter().peekable();
        model.visit_linears_mut(&mut |path, slot| {
            if let Some(layer) = next.next_if(|layer| layer.path == *path) {
                slot.wrap(|base| {
                    Box::new(AdaptedLinear {
                        base,
                        layer: layer.shallow_clone(),
                        dropout: config.lora_dropout,
                        stream: name_seed(0, path.as_str()),
                        enabled: Arc::clone(&enabled),
                        cache: WeightCache::default(),
                    })
                });
            }
        });
        Self { config: config.clone(), layers, enabled }
    }

    /// The hyper-parameters.
    pub fn config(&self) -> &LoraConfig {
        &self.config
    }

    /// The adapted layers, in the model's order.
    pub fn layers(&self) -> &[AdapterLayer] {
        &self.layers
    }

    /// Switches all adapters on or off; without them the model is its base.
    pub fn set_enabled(&self, on: bool) {
        self.enabled.store(on, Ordering::Relaxed);
    }

    /// The tensors under the names of PEFT's file.
    pub fn parameters(&self) -> Vec<(String, Tensor)> {
        let named = self.layers.iter().flat_map(AdapterLayer::named_tensors);
        named.map(|(name, tensor)| (name, tensor.shallow_clone())).collect()
    }

    /// Number of trainable numbers.
    pub fn num_parameters(&self) -> usize {
        self.layers.iter().flat_map(AdapterLayer::named_tensors).map(|(_, tensor)| tensor.numel()).sum()
    }

    /// Writes `adapter_config.json` and `adapter_model.safetensors` into `dir`, each atomically.
    ///
    /// # Errors
    /// [`LoraError`] when the disk refuses.
    pub fn save(&self, dir: &Path) -> Result<(), LoraError> {
        Adapter::write(dir, &self.config, &self.layers)
    }

    /// Reads the adapter back that was saved in `dir` and checks that it is whole and does something: every tensor there, of
    /// the right shape, no `lora_B` all zero. Returns the number of tensors.
    ///
    /// # Errors
    /// [`LoraError`] naming the first thing that is wrong.
    pub fn verify_saved(&self, dir: &Path) -> Result<usize, LoraError> {
        let adapter = Adapter::read(dir)?;
        let num_tensors = adapter.take(shapes(&self.parameters()))?.len();
        adapter.check_trained()?;
        Ok(num_tensors)
    }

    /// Replaces the tensors by those saved in `dir`, of the same layers and ranks: all of them, or on an error none.
    ///
    /// # Errors
    /// The errors of [`LoraAdapters::load`]; [`LoraError::Frozen`] for an adapter that does not train.
    pub fn restore(&self, dir: &Path) -> Result<(), LoraError> {
        let parameters = self.parameters();
        if !parameters.iter().all(|(_, parameter)| parameter.requires_grad()) {
            return Err(LoraError::Frozen);
        }
        let saved = Adapter::read(dir)?.take(shapes(&parameters))?;
        for ((_, parameter), saved) in parameters.iter().zip(saved) {
            tch::no_grad(|| parameter.shallow_clone().f_copy_(&saved)).op("copy_")?;
        }
        Ok(())
    }
}

/// Names and shapes of tensors.
fn shapes(named: &[(String, Tensor)]) -> Vec<(String, Vec<i64>)> {
    named.iter().map(|(name, tensor)| (name.clone(), tensor.size())).collect()
}

/// Every linear layer of `model`, in its order.
fn linears(model: &mut dyn VisitLinears) -> Vec<LinearShape> {
    let mut linears = Vec::new();
    model.visit_linears_mut(&mut |path, slot| {
        let (in_features, out_features) = (slot.get().in_features(), slot.get().out_features());
        linears.push(LinearShape { path: path.clone(), in_features, out_features });
    });
    linears
}

/// A new layer that trains.
fn fresh(target: &Target, base: &dyn LinearOp, seed: u64) -> Result<AdapterLayer, NnError> {
    let Target { path, variant, shape, scale } = target;
    let seed = name_seed(seed, path.as_str());
    let mut tensors = variant.fresh(&NewLayer { shape: *shape, seed, base })?;
    for tensor in &mut tensors {
        *tensor = tensor.f_set_requires_grad(true).op("set_requires_grad")?;
    }
    let tensors = LayerTensors { tensors, scale: *scale };
    Ok(AdapterLayer { path: path.clone(), variant: *variant, tensors })
}
