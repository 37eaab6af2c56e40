//! The seam between a model and whatever stands in for its linear layers.
//!
//! This crate holds no model, no adapter and no file format: only the contracts that let those meet without
//! knowing each other. A model asks a [`LinearSource`] for its layers while it is built; adapters replace the
//! [`LinearOp`] in a [`LinearSlot`] afterwards, found by [`ModulePath`]; data reaches the model as [`TokenBatch`], from a
//! [`Dataset`]; a training loop asks a [`Trainable`] for parameters and a loss.
//!
//! Shape letters used across the workspace: `B` sequences in a batch, `N` tokens in a batch (all sequences one after
//! another), `T` tokens of one sequence, `C` model width (`hidden_size`), `H` query heads, `K` key/value heads,
//! `D` head width, `F` feed-forward width, `V` vocabulary, `r` LoRA rank.

mod batch;
mod contract;
mod decode;
mod dense;
mod dtype;
mod embedding;
mod error;
mod finite;
mod linear;
mod mode;
mod path;
mod sequence;
mod settings;
mod shared_leaves;
mod slot;
mod source;
mod unknown_settings;

pub use batch::{IGNORE_INDEX, TokenBatch};
pub use contract::{BoxError, Dataset, SharedLoss, Trainable};
pub use decode::{CausalLm, DecodeSession};
pub use dense::DenseLinear;
pub use dtype::{Dtype, UnknownDtype};
pub use embedding::{DenseEmbedding, EmbeddingOp};
pub use error::{NnError, TorchContext, TorchFailure};
pub use finite::all_finite;
pub use linear::LinearOp;
pub use mode::{Mode, mix_seed, name_seed};
pub use path::ModulePath;
pub use sequence::{Sequence, shuffled};
pub use settings::{SettingError, SettingRole, SettingTable, Settings, asks_for_nothing, short};
pub use shared_leaves::SharedLeaves;
pub use slot::{EmbeddingSlot, LinearSlot, Slot, VisitLinears};
pub use source::LinearSource;
pub use unknown_settings::UnknownSettings;
