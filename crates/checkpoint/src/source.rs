//! The weights of a base as the source of a model's layers.

use nn_core::{LinearSource, NnError};
use qlora_nf4::{StoredSource, is_quantized};
use tch::{Device, Kind, Tensor};
use weights::{CheckpointSource, TensorStore};

use crate::gguf::{GgufCheckpoint, GgufSource};
use crate::meta::{MetaCheckpoint, MetaSource};

/// Opened weights.
#[derive(Debug)]
pub enum BaseWeights<'a> {
    /// In Hugging Face's layout.
    HuggingFace(TensorStore),
    /// In Meta's.
    Meta(&'a MetaCheckpoint),
    /// In a GGUF file.
    Gguf(&'a GgufCheckpoint),
}

impl BaseWeights<'_> {
    /// A source of their tensors on `device`, in `kind`; `None` keeps the stored one. Quantised weights come dequantised.
    pub fn source(&self, device: Device, kind: Option<Kind>) -> BaseSource<'_> {
        match self {
            Self::HuggingFace(store) if is_quantized(store) => {
                BaseSource::Quantized(StoredSource::new(store, device, kind))
            }
            Self::HuggingFace(store) => BaseSource::HuggingFace(CheckpointSource::new(store, device, kind)),
            Self::Meta(checkpoint) => BaseSource::Meta(checkpoint.source(device, kind)),
            Self::Gguf(checkpoint) => BaseSource::Gguf(checkpoint.source(device, kind)),
        }
    }
}

/// Gives a model the tensors of any [`BaseWeights`], under Hugging Face's names.
#[derive(Debug)]
pub enum BaseSource<'a> {
    /// In Hugging Face's layout.
    HuggingFace(CheckpointSource<'a>),
    /// In Hugging Face's layout, in 4 or 8 bits.
    Quantized(StoredSource<'a>),
    /// In Meta's.
    Meta(MetaSource<'a>),
    /// In a GGUF file.
    Gguf(GgufSource<'a>),
}

impl LinearSource for BaseSource<'_> {
    fn tensor(&self, name: &str, shape: &[i64]) -> Result<Tensor, NnError> {
        match self {
            Self::HuggingFace(source) => source.tensor(name, shape),
            Self::Quantized(source) => source.tensor(name, shape),
            Self::Meta(source) => source.tensor(name, shape),
            Self::Gguf(source) => source.tensor(name, shape),
        }
    }
}
