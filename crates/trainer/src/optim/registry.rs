//! The optimisers that a run can name.

use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};

use super::adamw::AdamW;
use super::kind::OptimizerKind;

/// All optimisers, by the names of transformers' `optim`.
pub const OPTIMIZERS: &[OptimizerKind] = &[
    OptimizerKind::new("adamw", &AdamW),
    OptimizerKind::new("adamw_8bit", &AdamW).eight_bit(),
    OptimizerKind::new("paged_adamw_32bit", &AdamW).paged(),
    OptimizerKind::new("paged_adamw_8bit", &AdamW).eight_bit().paged(),
];

impl Default for OptimizerKind {
    fn default() -> Self {
        OPTIMIZERS[0]
    }
}

impl FromStr for OptimizerKind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        OPTIMIZERS.iter().find(|kind| kind.name() == name).copied().ok_or_else(|| {
            let names: Vec<_> = OPTIMIZERS.iter().map(OptimizerKind::name).collect();
            format!("`{name}` is none of {}", names.join(", "))
        })
    }
}

impl<'de> Deserialize<'de> for OptimizerKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}
