//! Adapters into base weights, tensor by tensor, with a proof; and back: the adapter between two checkpoints.
//!
//! [`Deltas`] is what one adapter or several, weighted, add to a model. [`merge`] streams a base through them into files
//! that a [`Layout`] describes: a few rows at a time, so that memory does not depend on the model. What it returns is a
//! [`Proof`]: for each target the norm of ΔW and how many elements changed after rounding. Other tensors are the base's.
//! [`HfLayout`] is the layout of Hugging Face's directories; those of Meta and llama.cpp are given by the caller, since
//! this crate knows no architecture. [`unmerge`] takes a difference of weights apart into factors.

mod deltas;
mod error;
mod hf;
mod layout;
mod proof;
mod rows;
mod stream;
mod unmerge;

pub use deltas::{Combination, Deltas, WeightedAdapter};
pub use error::MergeError;
pub use hf::{HfLayout, shard_names, write_index};
pub use layout::{Destination, Layout, Placement, RowOrder, TensorPlan};
pub use proof::{Proof, TargetProof};
pub use rows::to_pairs;
pub use stream::{Base, Merged, merge};
pub use unmerge::{Extracted, unmerge};
