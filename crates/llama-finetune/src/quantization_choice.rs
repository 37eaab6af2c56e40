//! The quantisation that a program is asked for.

use std::fmt;
use std::str::FromStr;

use qlora_nf4::Quantization;
use serde::{Deserialize, Serialize};

use crate::FinetuneError;

/// A quantisation as it is asked for: the name of a scheme, or `none`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct QuantizationChoice(Option<Quantization>);

impl QuantizationChoice {
    /// Returns NF4 (QLoRA, arXiv 2305.14314, §3).
    pub fn nf4() -> Self {
        Self(Some(Quantization::nf4()))
    }

    /// Returns the quantisation.
    pub fn get(self) -> Option<Quantization> {
        self.0
    }

    /// Returns the quantisation, with or without double quantisation.
    ///
    /// # Errors
    /// [`FinetuneError::Quantization`] when double quantisation is asked for and the scheme has no blocks.
    pub fn with_double_quant(self, double_quant: bool) -> Result<Option<Quantization>, FinetuneError> {
        Quantization::from_flags(self.0.map_or("none", Quantization::name), double_quant)
            .map_err(FinetuneError::Quantization)
    }

    /// Checks for a scheme with blocks, whose scales can be quantised too.
    pub fn has_blocks(self) -> bool {
        self.0.is_some_and(Quantization::has_blocks)
    }

    /// Checks for no quantisation.
    pub fn is_none(self) -> bool {
        self.0.is_none()
    }
}

impl fmt::Display for QuantizationChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.map_or_else(|| "none".to_owned(), Quantization::describe))
    }
}

impl FromStr for QuantizationChoice {
    type Err = FinetuneError;

    fn from_str(name: &str) -> Result<Self, FinetuneError> {
        Quantization::from_flags(name, false).map(Self).map_err(FinetuneError::Quantization)
    }
}

impl From<Option<Quantization>> for QuantizationChoice {
    fn from(quantization: Option<Quantization>) -> Self {
        Self(quantization)
    }
}

impl From<QuantizationChoice> for String {
    fn from(choice: QuantizationChoice) -> Self {
        choice.to_string()
    }
}

impl TryFrom<String> for QuantizationChoice {
    type Error = FinetuneError;

    fn try_from(name: String) -> Result<Self, FinetuneError> {
        name.parse()
    }
}
