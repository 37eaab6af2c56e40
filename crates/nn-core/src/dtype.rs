//! Precision of a model's weights.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tch::Kind;

/// Floating-point precision of weights and of the computation with them, or the choice left open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Dtype {
    /// Chosen by whoever loads the model, from device and memory.
    #[default]
    Auto,
    /// IEEE single precision.
    Float32,
    /// Eight bits of exponent, seven of mantissa.
    BFloat16,
    /// IEEE half precision.
    Float16,
}

/// A name that is no [`Dtype`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("dtype is `{0}`; expected auto, float32, bfloat16 or float16")]
pub struct UnknownDtype(pub String);

impl Dtype {
    /// Returns libtorch's kind; `None` for [`Dtype::Auto`].
    pub fn kind(self) -> Option<Kind> {
        match self {
            Self::Auto => None,
            Self::Float32 => Some(Kind::Float),
            Self::BFloat16 => Some(Kind::BFloat16),
            Self::Float16 => Some(Kind::Half),
        }
    }

    /// Returns the precision that libtorch calls `kind`; `None` for integers and other kinds that no weight has.
    pub fn from_kind(kind: Kind) -> Option<Self> {
        match kind {
            Kind::Float => Some(Self::Float32),
            Kind::BFloat16 => Some(Self::BFloat16),
            Kind::Half => Some(Self::Float16),
            _ => None,
        }
    }

    /// Returns PyTorch's name of `kind`, or `another dtype` where no weight has it.
    pub fn name_of(kind: Kind) -> &'static str {
        Self::from_kind(kind).map_or("another dtype", Self::name)
    }

    /// Returns PyTorch's name, or `auto`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Float32 => "float32",
            Self::BFloat16 => "bfloat16",
            Self::Float16 => "float16",
        }
    }
}

impl FromStr for Dtype {
    type Err = UnknownDtype;

    fn from_str(name: &str) -> Result<Self, UnknownDtype> {
        match name {
            "auto" => Ok(Self::Auto),
            "float32" | "fp32" | "f32" => Ok(Self::Float32),
            "bfloat16" | "bf16" => Ok(Self::BFloat16),
            "float16" | "fp16" | "f16" => Ok(Self::Float16),
            _ => Err(UnknownDtype(name.to_owned())),
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl From<Dtype> for String {
    fn from(dtype: Dtype) -> Self {
        dtype.name().to_owned()
    }
}

impl TryFrom<String> for Dtype {
    type Error = UnknownDtype;

    fn try_from(name: String) -> Result<Self, UnknownDtype> {
        name.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_is_read_and_an_unknown_name_is_rejected() {
        for (names, dtype) in [
            (&["auto"] as &[&str], Dtype::Auto),
            (&["float32", "fp32", "f32"], Dtype::Float32),
            (&["bfloat16", "bf16"], Dtype::BFloat16),
            (&["float16", "fp16", "f16"], Dtype::Float16),
        ] {
            for name in names {
                assert_eq!(name.parse(), Ok(dtype), "{name}");
            }
            assert_eq!(dtype.to_string(), names[0]);
            assert_eq!(dtype.kind().and_then(Dtype::from_kind), (dtype != Dtype::Auto).then_some(dtype));
        }
        let error = "int7".parse::<Dtype>().unwrap_err().to_string();
        assert_eq!(error, "dtype is `int7`; expected auto, float32, bfloat16 or float16");
        assert_eq!(Dtype::from_kind(Kind::Int64), None);
    }
}
