//! Low-rank adapters (Hu et al., 2021, "LoRA", arXiv 2106.09685) over any [`nn_core::LinearOp`], in the files of Hugging
//! Face PEFT.
//!
//! [`LoraAdapters::attach`] wraps the linear layers of a model that a [`LoraConfig`] names, and hands back the trainable
//! factors; they share storage with the layers, so what the handle loads, saves or trains is what the model computes
//! with. The model never hears of it. [`read_adapter`] gives the factors of an adapter that is not attached to anything.

mod adapters;
mod config;
mod delta;
mod error;
mod files;
mod frozen;
mod linear;
mod target;

pub use adapters::{AdapterLayer, LoraAdapters};
pub use config::{LoraConfig, TargetModules};
pub use delta::{delta_weight, factor_product};
pub use error::LoraError;
pub use files::{ADAPTER_CONFIG, ADAPTER_WEIGHTS, SavedAdapter, save_adapter, verify_saved};
pub use frozen::{LinearShape, read_adapter};
