//! Optimisers: the formula of each in a file of its own, and what they share.
//!
//! An [`UpdateRule`] is a formula on flat tensors. [`Optimizer`] does the rest for every rule: it gathers parameters into
//! buckets, clips and hands out gradients, decays weights, keeps the state (float32, 8-bit or paged), saves and loads it.
//! [`OPTIMIZERS`] lists them by name.

mod adamw;
mod lion;

mod bucket;
mod gradients;
mod kind;
mod optimizer;
mod rule;
mod state;

use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};

pub use gradients::Gradients;
pub use kind::OptimizerKind;
pub use optimizer::Optimizer;
pub(crate) use optimizer::OptimizerSettings;
pub use rule::{StateTensor, UpdateRule, UpdateStep};

/// All optimisers, by the names of transformers' `optim`.
pub const OPTIMIZERS: &[OptimizerKind] = &[
    OptimizerKind::new("adamw", &adamw::AdamW),
    OptimizerKind::new("adamw_8bit", &adamw::AdamW).eight_bit(),
    OptimizerKind::new("paged_adamw_32bit", &adamw::AdamW).paged(),
    OptimizerKind::new("paged_adamw_8bit", &adamw::AdamW).eight_bit().paged(),
    OptimizerKind::new("lion", &lion::Lion),
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
