//! Attaching adapters to a model, and the handle on what was attached.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nn_core::{ModulePath, TorchContext, UnknownSettings, VisitLinears};
use tch::{Device, Tensor};

use crate::attach::{attach, on_base};
use crate::fresh::{fresh_layers, fresh_replacements};
use crate::initial::Initial;
use crate::layer::AdapterLayer;
use crate::module::ModelShape;
use crate::parts::{AdapterParts, Replacement};
use crate::saved::Adapter;
use crate::target::{Unmatched, resolve};
use crate::{LoraConfig, LoraError};

/// The adapters of a model: what is trained, saved and merged.
#[derive(Debug)]
pub struct LoraAdapters {
    config: LoraConfig,
    parts: AdapterParts,
    enabled: Arc<AtomicBool>,
}

impl LoraAdapters {
    /// Wraps every module of `model` that `config` names in a new, trainable adapter with PEFT's initial values, float32; those
    /// of a layer depend on `seed` and its path only. Modules to save become trainable copies. A new adapter changes nothing.
    ///
    /// # Errors
    /// [`LoraError`] when the configuration is wrong or a target matches nothing; the model is then unchanged.
    pub fn attach(model: &mut dyn VisitLinears, config: &LoraConfig, seed: u64) -> Result<Self, LoraError> {
        Self::attach_resized(model, config, seed, None)
    }

    /// Attaches a new adapter as [`LoraAdapters::attach`] does, to a model whose vocabulary grows to `vocab_size` rows: those that
    /// are added to embedding and head, which have to be modules to save, are the mean of the others.
    ///
    /// # Errors
    /// Those of [`LoraAdapters::attach`], and [`LoraError::Config`] when embedding or head is no module to save, or has more rows.
    pub fn attach_resized(
        model: &mut dyn VisitLinears,
        config: &LoraConfig,
        seed: u64,
        vocab_size: Option<i64>,
    ) -> Result<Self, LoraError> {
        config.validate()?;
        if config.bias != "none" || Initial::of(&config.init_lora_weights)? != Initial::Nothing {
            let (field, actual) = if config.bias == "none" {
                ("init_lora_weights", config.init_lora_weights.to_string())
            } else {
                ("bias", config.bias.clone())
            };
            return Err(LoraError::Config {
                field,
                actual,
                expected: "it is for saved adapters: none is trained here",
            });
        }
        let shape = ModelShape::of(model);
        let targets = resolve(config, &shape, Unmatched::Refuse)?;
        let replaced = fresh_replacements(model, config, &shape, vocab_size)?;
        let layers = fresh_layers(model, &targets, seed)?;
        Self::build(model, config, AdapterParts { layers, replaced })
    }

    /// Attaches the adapter saved in `dir` to `model`, frozen.
    ///
    /// # Errors
    /// [`LoraError::MissingKeys`] and [`LoraError::UnusedKeys`] when file and model do not name the same layers; other
    /// [`LoraError`]s when the directory is no adapter.
    pub fn load(model: &mut dyn VisitLinears, dir: &Path) -> Result<Self, LoraError> {
        Self::load_with(model, dir, UnknownSettings::Refuse)
    }

    /// Attaches a saved adapter as [`LoraAdapters::load`] does, and takes a stance on unknown keys of its configuration.
    ///
    /// # Errors
    /// Those of [`LoraAdapters::load`].
    pub fn load_with(
        model: &mut dyn VisitLinears,
        dir: &Path,
        unknown: UnknownSettings,
    ) -> Result<Self, LoraError> {
        let adapter = Adapter::read_with(dir, unknown)?;
        let mut parts = adapter.parts(&ModelShape::of(model))?;
        on_base(model, &mut parts)?;
        Self::attach_parts(model, &adapter.config().on_base()?, &parts)
    }

    /// Builds `parts` into `model`: copies of the factors, in float32, frozen, and the tensors that replace the base's.
    ///
    /// # Errors
    /// [`LoraError::UnknownTarget`] when the model lacks a module.
    pub fn attach_parts(
        model: &mut dyn VisitLinears,
        config: &LoraConfig,
        parts: &AdapterParts,
    ) -> Result<Self, LoraError> {
        let devices = devices(model);
        let layers = parts.layers.iter().map(|layer| {
            // One of no module is refused when it is attached.
            layer.frozen_on(devices.get(&layer.path).copied().unwrap_or(Device::Cpu))
        });
        let parts = AdapterParts {
            layers: layers.collect::<Result<_, _>>()?,
            replaced: parts.replaced.iter().map(Replacement::shallow_clone).collect(),
        };
        Self::build(model, config, parts)
    }

    fn build(
        model: &mut dyn VisitLinears,
        config: &LoraConfig,
        parts: AdapterParts,
    ) -> Result<Self, LoraError> {
        let enabled = Arc::new(AtomicBool::new(true));
        attach(model, config, &parts, &enabled)?;
        Ok(Self { config: config.clone(), parts, enabled })
    }

    /// Returns the hyper-parameters.
    pub fn config(&self) -> &LoraConfig {
        &self.config
    }

    /// Returns the adapted layers, in the model's order.
    pub fn layers(&self) -> &[AdapterLayer] {
        &self.parts.layers
    }

    /// Returns the layers, and the tensors that stand in place of the base's.
    pub fn parts(&self) -> &AdapterParts {
        &self.parts
    }

    /// Switches all adapters on or off; without them the model is its base, but for norms that an adapter replaced.
    pub fn set_enabled(&self, on: bool) {
        self.enabled.store(on, Ordering::Relaxed);
    }

    /// Returns the tensors under the names of PEFT's file. Those of an embedding's factors are transposed there.
    pub fn parameters(&self) -> Vec<(String, Tensor)> {
        self.entries().into_iter().map(|(name, tensor, _)| (name, tensor)).collect()
    }

    /// Lists names in PEFT's file, tensors, and whether they are transposed there.
    fn entries(&self) -> Vec<(String, Tensor, bool)> {
        let layers = self.parts.layers.iter().filter(|layer| !layer.is_twin);
        let factors = layers.flat_map(|layer| {
            let transposed = layer.variant.tensors().iter().map(|spec| spec.transposed);
            layer.named_tensors().zip(transposed)
        });
        let factors = factors.map(|((name, tensor), transposed)| (name, tensor.shallow_clone(), transposed));
        let own = self.parts.replaced.iter().filter(|replaced| !replaced.is_twin);
        let own = own.map(|replaced| (replaced.file_name(), replaced.values.shallow_clone(), false));
        factors.chain(own).collect()
    }

    /// Returns the number of trainable numbers.
    pub fn num_parameters(&self) -> usize {
        self.parameters().iter().map(|(_, tensor)| tensor.numel()).sum()
    }

    /// Writes `adapter_config.json` and `adapter_model.safetensors` into `dir`, each atomically.
    ///
    /// # Errors
    /// [`LoraError`] when the disk refuses.
    pub fn save(&self, dir: &Path) -> Result<(), LoraError> {
        self.parts.write(dir, &self.config)
    }

    /// Reads the adapter back that was saved in `dir` and checks that it is whole and does something: every tensor there, of
    /// the right shape, no `lora_B` all zero. Returns the number of tensors.
    ///
    /// # Errors
    /// [`LoraError`] naming the first thing that is wrong.
    pub fn verify_saved(&self, dir: &Path) -> Result<usize, LoraError> {
        let adapter = Adapter::read(dir)?;
        let num_tensors = adapter.take(self.file_shapes())?.len();
        adapter.check_trained()?;
        Ok(num_tensors)
    }

    /// Replaces the tensors by those saved in `dir`, of the same layers and ranks: all of them, or on an error none.
    ///
    /// # Errors
    /// The errors of [`LoraAdapters::load`]; [`LoraError::Frozen`] for an adapter that does not train; [`LoraError::Initial`] for
    /// one that belongs to another base.
    pub fn restore(&self, dir: &Path) -> Result<(), LoraError> {
        self.take_from(&self.readable(dir, UnknownSettings::Refuse)?.without_base())
    }

    /// Replaces the tensors as [`LoraAdapters::restore`] does, by those of an adapter that peft may have written: it puts copies
    /// of the base's embedding and head beside the factors. Those are held against `model`, to which these adapters are attached,
    /// and left out.
    ///
    /// # Errors
    /// Those of [`LoraAdapters::restore`]; [`LoraError::OtherBase`] for a copy of another base, of other values or of another
    /// vocabulary.
    pub fn start_from(
        &self,
        model: &mut dyn VisitLinears,
        dir: &Path,
        unknown: UnknownSettings,
    ) -> Result<(), LoraError> {
        let mut adapter = self.readable(dir, unknown)?;
        let own: BTreeSet<String> = self.file_shapes().into_iter().map(|(name, _)| name).collect();
        self.set_enabled(false);
        let left_out = adapter.leave_out_copies(&own, model);
        self.set_enabled(true);
        left_out?;
        self.take_from(&adapter)
    }

    /// Reads an adapter whose values these tensors can take.
    fn readable(&self, dir: &Path, unknown: UnknownSettings) -> Result<Adapter, LoraError> {
        if !self.parameters().iter().all(|(_, parameter)| parameter.requires_grad()) {
            return Err(LoraError::Frozen);
        }
        let adapter = Adapter::read_with(dir, unknown)?;
        if Initial::of(&adapter.config().init_lora_weights)? != Initial::Nothing {
            let value = adapter.config().init_lora_weights.as_str().unwrap_or_default().to_owned();
            return Err(LoraError::Initial {
                value,
                reason: "it was trained over what that leaves of the base",
            });
        }
        Ok(adapter)
    }

    fn take_from(&self, adapter: &Adapter) -> Result<(), LoraError> {
        let saved = adapter.take(self.file_shapes())?;
        for ((_, parameter, transposed), saved) in self.entries().into_iter().zip(saved) {
            let saved = if transposed { saved.f_tr().op("tr")? } else { saved };
            tch::no_grad(|| parameter.shallow_clone().f_copy_(&saved)).op("copy_")?;
        }
        Ok(())
    }

    /// Lists names and shapes in PEFT's file, in the order of the parameters; the other halves of tied pairs behind them.
    fn file_shapes(&self) -> Vec<(String, Vec<i64>)> {
        let shape = |(name, tensor, transposed): (String, Tensor, bool)| {
            let mut shape = tensor.size();
            if transposed {
                shape.reverse();
            }
            (name, shape)
        };
        let twin_layers = self.parts.layers.iter().filter(|layer| layer.is_twin);
        let twin_factors = twin_layers.flat_map(AdapterLayer::named_tensors);
        let twins = self.parts.replaced.iter().filter(|it| it.is_twin && it.is_written());
        let twins = twins.map(|it| (it.file_name(), it.values.size()));
        let twins = twin_factors.map(|(name, tensor)| (name, tensor.size())).chain(twins);
        self.entries().into_iter().map(shape).chain(twins).collect()
    }
}

/// Returns the device of each linear layer and of the embedding.
fn devices(model: &mut dyn VisitLinears) -> BTreeMap<ModulePath, Device> {
    let mut devices = BTreeMap::new();
    model.visit_linears_mut(&mut |path, slot| {
        devices.insert(path.clone(), slot.get().device());
    });
    model.visit_embeddings_mut(&mut |path, slot| {
        devices.insert(path.clone(), slot.get().device());
    });
    devices
}
