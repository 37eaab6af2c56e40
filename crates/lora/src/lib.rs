//! Low-rank adapters (Hu et al., 2021, "LoRA", arXiv 2106.09685) over any [`nn_core::LinearOp`], in the files of Hugging
//! Face PEFT.
//!
//! [`LoraAdapters::attach`] wraps the linear layers of a model that a [`LoraConfig`] names, and hands back the trainable
//! tensors; they share storage with the layers, so what the handle restores, saves or trains is what the model computes
//! with. The model never hears of it. [`Adapter::read`] gives a saved adapter that is not attached to anything.

mod adapters;
mod attach;
mod config;
mod embedding;
mod error;
mod folder;
mod fresh;
mod initial;
mod key;
mod keys;
mod layer;
mod linear;
mod module;
mod parts;
mod pattern;
mod replaced;
mod saved;
mod target;
mod variant;
mod variant_name;
mod variants;

pub use adapters::LoraAdapters;
pub use config::{LoraConfig, TargetModules, TokenIndices};
pub use error::LoraError;
pub use folder::find_adapter;
pub use initial::Initial;
pub use layer::AdapterLayer;
pub use module::{ModelShape, ModuleKind, ModuleShape};
pub use parts::{AdapterParts, Replacement};
pub use pattern::Patterns;
pub use saved::Adapter;
pub use variant::RowsDelta;
pub use variant_name::VariantName;
