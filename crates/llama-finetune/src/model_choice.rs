//! A model as a program is asked for it: a base, an adapter, and how to load them.

use std::path::{Path, PathBuf};

use checkpoint::{AdapterDir, Base, DeviceMap, find_adapter};
use llama_model::Llama;
use nn_core::{Dtype, SharedLeaves, UnknownSettings};
use qlora_nf4::Quantization;
use tch::Device;

use crate::lora_model::with_adapter;
use crate::{AskedQuantization, DeviceMapChoice, FinetuneError, PartBytes, TrainedWith};

/// Device, precision and quantisation to load a model with.
#[derive(Debug, Clone, Copy)]
pub struct LoadConfig {
    /// Device that computes.
    pub device: Device,
    /// Whether the layers go over all devices of its kind.
    pub device_map: DeviceMapChoice,
    /// Precision of the weights and of the computation.
    pub dtype: Dtype,
    /// Quantisation of the linear layers, where it is asked for.
    pub quantization: AskedQuantization,
    /// Stance on keys of a configuration that are unknown here.
    pub unknown_settings: UnknownSettings,
}

/// A model by its names, and the way to load it.
#[derive(Debug, Clone, Copy)]
pub struct ModelChoice<'a> {
    /// Path or name of the base; that of the adapter where it is none.
    pub base_model: Option<&'a str>,
    /// Directory of its adapter, or the adapter's name on the hub.
    pub adapter: Option<&'a str>,
    /// Device, precision and quantisation.
    pub load: LoadConfig,
}

/// A model that is opened but not loaded: its weights are on disk still.
#[derive(Debug)]
pub struct OpenedModel {
    /// The base.
    pub base: Base,
    /// Directory of the adapter.
    pub adapter: Option<PathBuf>,
    /// The settings that the adapter was trained with.
    pub trained_with: TrainedWith,
    /// Quantisation of the linear layers while loading.
    pub quantization: Option<Quantization>,
    load: LoadConfig,
}

impl ModelChoice<'_> {
    /// Finds the adapter and opens the base. What is not asked for is as the adapter was trained.
    ///
    /// # Errors
    /// [`FinetuneError::NoBase`] where neither names a base, and when either cannot be opened.
    pub fn open(&self) -> Result<OpenedModel, FinetuneError> {
        let adapter = self.adapter.map(find_adapter).transpose()?;
        let trained_with = TrainedWith::of(adapter.as_deref())?;
        let (name, revision) = trained_with.base(self.base_model).ok_or(FinetuneError::NoBase)?;
        let base = Base::open_at(name, revision, self.load.unknown_settings)?;
        let base = match &adapter {
            Some(dir) => base.with_tokenizer_beside(dir)?,
            None => base,
        };
        let quantization = trained_with.quantization(self.load.quantization, base.stored_quantization()?)?;
        Ok(OpenedModel { base, adapter, trained_with, quantization, load: self.load })
    }
}

/// Opens the base that adapters are merged into, and decides the quantisation that it goes through first: what is not asked
/// for is as the first adapter was trained. Warns of adapters that were trained over another.
///
/// # Errors
/// [`FinetuneError::NoBase`] where neither `base_model` nor the first adapter names one, and when it cannot be opened.
pub fn open_merge_base(
    base_model: Option<&str>,
    adapters: &[AdapterDir],
    asked: AskedQuantization,
    unknown: UnknownSettings,
) -> Result<(Base, Option<Quantization>), FinetuneError> {
    let mut trained = adapters.iter().map(|adapter| TrainedWith::read(&adapter.dir));
    let first = trained.next().transpose()?.unwrap_or_default();
    let (name, revision) = first.base(base_model).ok_or(FinetuneError::NoBase)?;
    let mut base = Base::open_at(name, revision, unknown)?;
    // Of several adapters the first counts whose tokenizer is another.
    for adapter in adapters {
        if base.tokenizer_beside(&adapter.dir)?.is_some() {
            base = base.with_tokenizer_beside(&adapter.dir)?;
            break;
        }
    }
    let stored = base.stored_quantization()?;
    let used = first.quantization(asked, stored)?;
    for other in trained {
        let other = other?;
        other.base(Some(name));
        other.quantization(used.into(), stored)?;
    }
    Ok((base, used))
}

impl OpenedModel {
    /// Loads the base, and attaches the adapter if there is one.
    ///
    /// # Errors
    /// [`FinetuneError::Checkpoint`] and [`FinetuneError::Adapter`] when either cannot be read.
    pub fn load(&self) -> Result<Llama, FinetuneError> {
        let model = self.base.load_quantized(self.devices()?, self.load.dtype, self.quantization)?;
        with_adapter(model, self.adapter.as_deref(), self.load.unknown_settings)
    }

    /// Decides on which devices the base goes.
    fn devices(&self) -> Result<DeviceMap, FinetuneError> {
        let LoadConfig { device, device_map, dtype, .. } = self.load;
        let quantization = self.quantization.or(self.base.stored_quantization()?);
        let kind = self.base.kind(device, dtype, quantization);
        Ok(device_map.map(device, &PartBytes::of_model(&self.base.config, kind, quantization)))
    }

    /// Loads the base once, and attaches the adapter if there is one; returns beside it another handle on the same weights without
    /// the adapter.
    ///
    /// # Errors
    /// Those of [`OpenedModel::load`].
    pub fn load_with_base(&self) -> Result<(Llama, Option<Llama>), FinetuneError> {
        let model = self.base.load_quantized(self.devices()?, self.load.dtype, self.quantization)?;
        let base = self.adapter.as_ref().map(|_| model.share(&SharedLeaves::of([])));
        Ok((with_adapter(model, self.adapter.as_deref(), self.load.unknown_settings)?, base))
    }

    /// Describes the base and the precision of `model`, a handle on it without the adapter, in a line.
    ///
    /// # Errors
    /// Those of [`OpenedModel::describe`].
    pub fn describe_base(&self, model: &Llama) -> Result<String, FinetuneError> {
        self.described(model, None)
    }

    /// Describes base, adapter and the precision of `model`, which was loaded of them, in a line.
    ///
    /// # Errors
    /// [`FinetuneError::Checkpoint`] when the headers of the base cannot be read.
    pub fn describe(&self, model: &Llama) -> Result<String, FinetuneError> {
        self.described(model, self.adapter.as_deref())
    }

    fn described(&self, model: &Llama, adapter: Option<&Path>) -> Result<String, FinetuneError> {
        let kind = Dtype::name_of(model.kind());
        let precision = match self.quantization.or(self.base.stored_quantization()?) {
            Some(quantization) => format!("{}, {kind}", quantization.describe()),
            None => kind.to_owned(),
        };
        let base = &self.base.name;
        Ok(match adapter {
            Some(dir) => format!("{base} + {} ({precision})", dir.display()),
            None => format!("{base} ({precision})"),
        })
    }
}
