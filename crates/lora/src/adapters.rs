//! Attaching adapters to a model, and the handle on what was attached.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nn_core::{LinearOp, ModulePath, NnError, TorchContext, VisitLinears, name_seed};
use tch::{Device, Kind, Tensor};

use crate::linear::LoraLinear;
use crate::target::{Target, resolve};
use crate::{LoraConfig, LoraError};

/// The factors of one adapted layer; they share storage with the layer.
#[derive(Debug)]
pub struct AdapterLayer {
    /// The layer, as the checkpoint names it.
    pub path: ModulePath,
    /// `lora_A`, `[r, in]`; float32 where it trains.
    pub a: Tensor,
    /// `lora_B`, `[out, r]`; float32 where it trains, zero at birth.
    pub b: Tensor,
    /// What `B A` is multiplied with.
    pub scale: f64,
}

/// The adapters of a model: what is trained, saved and merged.
#[derive(Debug)]
pub struct LoraAdapters {
    config: LoraConfig,
    layers: Vec<AdapterLayer>,
    enabled: Arc<AtomicBool>,
}

impl LoraAdapters {
    /// Wraps every layer of `model` that `config` names. Fresh factors are those of PEFT: `A` uniform within
    /// `±1/sqrt(in)` (Kaiming with `a = sqrt 5`), `B` zero, in float32; each depends on `seed` and its path only.
    ///
    /// # Errors
    /// [`LoraError`] when the configuration is wrong or a target matches nothing; the model is then unchanged.
    pub fn attach(model: &mut dyn VisitLinears, config: &LoraConfig, seed: u64) -> Result<Self, LoraError> {
        config.validate()?;
        let mut paths = Vec::new();
        model.visit_linears_mut(&mut |path, _| paths.push(path.clone()));
        let targets = resolve(config, &paths)?;
        let mut layers = Vec::with_capacity(targets.len());
        let mut failure = None;
        model.visit_linears_mut(&mut |path, slot| {
            if let Some(target) = targets.iter().find(|target| target.path == *path) {
                match AdapterLayer::fresh(target, slot.get(), seed) {
                    Ok(layer) => layers.push(layer),
                    Err(error) => failure = Some(error),
                }
            }
        });
        if let Some(error) = failure {
            return Err(error.into());
        }
        Ok(Self::wrap(model, config, layers))
    }

    /// Wraps the layers of `model` that `layers` names, which are in the model's order.
    pub(crate) fn wrap(model: &mut dyn VisitLinears, config: &LoraConfig, layers: Vec<AdapterLayer>) -> Self {
        let enabled = Arc::new(AtomicBool::new(true));
        let mut next = layers.iter().peekable();
        model.visit_linears_mut(&mut |path, slot| {
            if let Some(layer) = next.next_if(|layer| layer.path == *path) {
                slot.wrap(|base| {
                    Box::new(LoraLinear {
                        base,
                        a: layer.a.shallow_clone(),
                        b: layer.b.shallow_clone(),
                        scale: layer.scale,
                        dropout: config.lora_dropout,
                        stream: name_seed(0, path.as_str()),
                        enabled: Arc::clone(&enabled),
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

    /// Whether the adapters take part; without them the model is its base.
    pub fn set_enabled(&self, on: bool) {
        self.enabled.store(on, Ordering::Relaxed);
    }

    /// The trainable tensors under the names of PEFT's file.
    pub fn parameters(&self) -> Vec<(String, Tensor)> {
        self.layers
            .iter()
            .flat_map(|layer| {
                [(layer.key("A"), layer.a.shallow_clone()), (layer.key("B"), layer.b.shallow_clone())]
            })
            .collect()
    }

    /// Number of trainable numbers.
    pub fn num_parameters(&self) -> usize {
        self.layers.iter().map(|layer| layer.a.numel() + layer.b.numel()).sum()
    }
}

impl AdapterLayer {
    fn fresh(target: &Target, base: &dyn LinearOp, seed: u64) -> Result<Self, NnError> {
        let (inputs, outputs) = (base.in_features(), base.out_features());
        let bound = 1.0 / (inputs as f64).sqrt();
        // Drawn on the CPU, so that a run starts from the same adapter on every device.
        tch::manual_seed((name_seed(seed, target.path.as_str()) >> 1) as i64);
        let mut a = Tensor::f_empty([target.r, inputs], (Kind::Float, Device::Cpu)).op("empty")?;
        let _ = a.f_uniform_(-bound, bound).op("uniform_")?;
        let b = Tensor::f_zeros([outputs, target.r], (Kind::Float, base.device())).op("zeros")?;
        Ok(Self {
            path: target.path.clone(),
            a: a.f_to(base.device()).op("to")?.f_set_requires_grad(true).op("set_requires_grad")?,
            b: b.f_set_requires_grad(true).op("set_requires_grad")?,
            scale: target.scale,
        })
    }

    /// The name of factor `A` or `B` in PEFT's file.
    pub(crate) fn key(&self, factor: &str) -> String {
        Self::key_of(&self.path, factor)
    }

    /// The name of factor `A` or `B` of the layer at `path`.
    pub(crate) fn key_of(path: &ModulePath, factor: &str) -> String {
        format!("base_model.model.{path}.lora_{factor}.weight")
    }

    /// The same factors, not copied.
    #[must_use]
    pub fn shallow_clone(&self) -> Self {
        Self {
            path: self.path.clone(),
            a: self.a.shallow_clone(),
            b: self.b.shallow_clone(),
            scale: self.scale,
        }
    }
}
