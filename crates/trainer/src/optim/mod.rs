//! Optimisers: the formula of each in a file of its own, and what they share.
//!
//! An [`UpdateRule`] is a formula on flat tensors. [`Optimizer`] does the rest for every rule: it gathers parameters into
//! buckets, clips and hands out gradients, decays weights, keeps the state (float32, 8-bit or paged), saves and loads it.
//! [`OPTIMIZERS`] lists them by name.

mod adamw;
mod bucket;
mod gradients;
mod kind;
mod optimizer;
mod registry;
mod rule;
mod state;

pub use gradients::Gradients;
pub use kind::OptimizerKind;
pub use optimizer::Optimizer;
pub use registry::OPTIMIZERS;
pub use rule::{OptimizerSettings, StateTensor, UpdateRule, UpdateStep};
