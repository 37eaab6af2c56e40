//! An optimiser by name: its formula and the storage of its state.

use std::fmt;

use serde::{Serialize, Serializer};

use super::bucket::BUCKET_ELEMENTS;
use super::rule::UpdateRule;
use super::state::bytes_per_element;

/// An optimiser: an [`UpdateRule`] and how its state is stored.
#[derive(Debug, Clone, Copy)]
pub struct OptimizerKind {
    pub(super) name: &'static str,
    pub(super) rule: &'static dyn UpdateRule,
    pub(super) eight_bit: bool,
    pub(super) paged: bool,
}

impl OptimizerKind {
    /// Creates an optimiser that follows `rule` and keeps its state in float32 beside the parameters.
    pub const fn new(name: &'static str, rule: &'static dyn UpdateRule) -> Self {
        Self { name, rule, eight_bit: false, paged: false }
    }

    /// Stores the state in 8 bits, in blocks of 256, for parameters of at least 4096 elements (bitsandbytes' 8-bit
    /// optimisers).
    #[must_use]
    pub const fn eight_bit(self) -> Self {
        Self { eight_bit: true, ..self }
    }

    /// Keeps the state of parameters on a GPU in pinned host memory; one bucket at a time is copied to the GPU for its
    /// update. bitsandbytes' paged optimisers leave the copying to the driver's managed memory. Does nothing on a CPU.
    #[must_use]
    pub const fn paged(self) -> Self {
        Self { paged: true, ..self }
    }

    /// Returns the name that settings use.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the name that people read, such as `8-bit AdamW`.
    pub fn title(&self) -> String {
        format!("{}{}", if self.eight_bit { "8-bit " } else { "" }, self.rule.title())
    }

    /// Returns the name of the update rule.
    pub(crate) fn rule_title(&self) -> &'static str {
        self.rule.title()
    }

    /// Checks for 8-bit storage.
    pub(crate) fn is_8bit(&self) -> bool {
        self.eight_bit
    }

    /// Checks for a state that leaves the GPU's memory.
    pub fn is_paged(&self) -> bool {
        self.paged
    }

    /// Returns β₁ and β₂ for runs that set neither.
    pub fn default_betas(&self) -> (f64, f64) {
        self.rule.default_betas()
    }

    /// Returns the bytes of the state of `elements` trained elements.
    pub fn state_bytes(&self, elements: f64) -> f64 {
        elements * self.rule.state().len() as f64 * bytes_per_element(self.eight_bit)
    }

    /// Returns the GPU memory of one paged bucket, in bytes: its state in float32 and the update's two temporaries.
    pub fn page_bytes(&self) -> f64 {
        4.0 * (self.rule.state().len() + 2) as f64 * BUCKET_ELEMENTS as f64
    }
}

impl PartialEq for OptimizerKind {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl fmt::Display for OptimizerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Serialize for OptimizerKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}
