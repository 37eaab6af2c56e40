//! A merged model that is about to be written.

use std::path::Path;
use std::str::FromStr;

use llama_model::LlamaConfig;
use merge::{Deltas, TensorPlan};
use nn_core::{Dtype, UnknownDtype};
use qlora_nf4::Quantization;
use tch::Kind;

use crate::model_files::ModelFiles;

/// Precision of written weights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Precision {
    /// The base's, tensor by tensor.
    #[default]
    AsBase,
    /// The same for all tensors.
    Of(Kind),
    /// GGUF's blocks of 8 bits.
    Q8_0,
}

impl From<Dtype> for Precision {
    fn from(dtype: Dtype) -> Self {
        dtype.kind().map_or(Self::AsBase, Self::Of)
    }
}

impl FromStr for Precision {
    type Err = UnknownDtype;

    /// Parses the name of a [`Dtype`], or `q8_0`.
    fn from_str(name: &str) -> Result<Self, UnknownDtype> {
        if name.eq_ignore_ascii_case("q8_0") { Ok(Self::Q8_0) } else { Ok(name.parse::<Dtype>()?.into()) }
    }
}

/// Settings that a form writes by; those of [`crate::MergeConfig`] with the same names.
#[derive(Debug, Clone, Copy)]
pub struct WriteSettings {
    /// Precision of the files.
    pub precision: Precision,
    /// Bytes that one file holds at most, unless one tensor is larger.
    pub max_shard_bytes: u64,
    /// Number of model-parallel files.
    pub shards: usize,
    /// Quantisation that the base goes through before anything is added.
    pub base_quantization: Option<Quantization>,
    /// Quantisation of the linear layers that are written.
    pub quantization: Option<Quantization>,
}

/// Base and adapters as one model, decided tensor by tensor, which [`crate::Format::write`] writes.
#[derive(Debug)]
pub struct MergedModel<'a> {
    pub(crate) base: &'a dyn ModelFiles,
    pub(crate) name: String,
    pub(crate) settings: WriteSettings,
    pub(crate) deltas: Deltas,
    pub(crate) config: LlamaConfig,
    pub(crate) tensors: Vec<TensorPlan>,
}

impl<'a> MergedModel<'a> {
    /// Returns the files of the base.
    pub fn base(&self) -> &'a dyn ModelFiles {
        self.base
    }

    /// Returns the name of the base's directory or file, without its ending.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the settings to write by.
    pub fn settings(&self) -> &WriteSettings {
        &self.settings
    }

    /// Returns the shape of the merged model.
    pub fn config(&self) -> &LlamaConfig {
        &self.config
    }

    /// Lists its tensors, in the order of the model.
    pub fn tensors(&self) -> &[TensorPlan] {
        &self.tensors
    }

    /// Returns the precision of the linear layers.
    pub fn kind(&self) -> Kind {
        let linear = self.tensors.iter().find(|tensor| tensor.name.ends_with("q_proj.weight"));
        linear.map_or(Kind::Float, |tensor| tensor.kind)
    }

    /// Returns PyTorch's name of that precision.
    pub fn dtype(&self) -> &'static str {
        Dtype::name_of(self.kind())
    }

    /// Copies the tokenizer's files into `dir`; a base without them is no reason to stop.
    pub(crate) fn copy_tokenizer(&self, dir: &Path) {
        if let Err(missing) = self.base.copy_tokenizer(dir) {
            tracing::warn!("the tokenizer is not copied: {}", chain(&missing));
        }
    }
}

/// Joins an error and its causes into one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
