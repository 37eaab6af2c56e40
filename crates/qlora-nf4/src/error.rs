//! Failures of quantising, and of reading what was quantised.

use nn_core::{NnError, TorchFailure};
use weights::WeightsError;

/// A failure of quantising a weight or of reading a quantised one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuantError {
    /// A block size that bitsandbytes does not have.
    #[error("block size {actual} is not possible; expected one of 32, 64, 128, 256, 512, 1024, 2048, 4096")]
    BlockSize {
        /// The size asked for, in numbers.
        actual: usize,
    },
    /// A name that is none of a scheme.
    #[error("quantize is `{actual}`; expected {expected}")]
    Scheme {
        /// The name.
        actual: String,
        /// The names there are.
        expected: String,
    },
    /// Double quantisation where there are no scales of blocks.
    #[error("double_quant is for {expected}; quantize is `{actual}`")]
    NoBlocks {
        /// The name of the scheme, or `none`.
        actual: String,
        /// The schemes that have them.
        expected: String,
    },
    /// A weight that is not floating point.
    #[error("a weight of kind {actual:?} cannot be quantised; expected float32, bfloat16 or float16")]
    Kind {
        /// Its kind.
        actual: tch::Kind,
    },
    /// A weight with infinities or NaN.
    #[error("weight `{name}` has infinities or NaN, which no quantised block can hold")]
    NotFinite {
        /// Its name in the checkpoint.
        name: String,
    },
    /// A weight that is not a matrix.
    #[error("weight has shape {actual:?}; expected [out_features, in_features]")]
    NotAMatrix {
        /// Its shape.
        actual: Vec<i64>,
    },
    /// A part of a quantised weight that the checkpoint lacks.
    #[error("quantised weight `{name}` lacks its `{missing}`")]
    Missing {
        /// The weight's name.
        name: String,
        /// The part's full name.
        missing: String,
    },
    /// A part of a quantised weight that contradicts another.
    #[error("`{name}` {what} {actual}; expected {expected}")]
    Contradiction {
        /// The tensor at fault.
        name: String,
        /// The property at fault.
        what: &'static str,
        /// Its value.
        actual: String,
        /// The value it should have.
        expected: String,
    },
    /// A quant state that is no JSON, or not the one expected.
    #[error("`{name}` is malformed")]
    State {
        /// The tensor at fault.
        name: String,
        /// The JSON reader's message.
        #[source]
        source: serde_json::Error,
    },
    /// A `quantization_config` that cannot be read.
    #[error("quantization_config of config.json is malformed")]
    Config(#[source] serde_json::Error),
    /// A `quantization_config` of another method.
    #[error("quantization_config has {field} `{actual}`; expected {expected}")]
    Method {
        /// The field.
        field: &'static str,
        /// Its value.
        actual: String,
        /// The supported values.
        expected: String,
    },
    /// Quantising what is quantised.
    #[error("the base is quantised already ({stored}); load it as it is instead of asking for {asked}")]
    AlreadyQuantised {
        /// The stored quantisation.
        stored: String,
        /// The quantisation asked for.
        asked: String,
    },
    /// The checkpoint cannot be read or written.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A layer failed.
    #[error(transparent)]
    Layer(#[from] NnError),
    /// libtorch refused an operation.
    #[error(transparent)]
    Torch(#[from] TorchFailure),
}

impl From<QuantError> for NnError {
    fn from(error: QuantError) -> Self {
        match error {
            QuantError::Layer(error) => error,
            QuantError::Torch(error) => error.into(),
            other => NnError::Extension(Box::new(other)),
        }
    }
}
