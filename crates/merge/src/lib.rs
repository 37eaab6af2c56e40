//! Adapters into base weights, tensor by tensor, with a proof; and back: the adapter between two checkpoints.
//!
//! [`Deltas`] is what one adapter or several, weighted, add to a model. [`merge`] streams a base through them into files,
//! where each tensor has its [`Placement`]: a few rows at a time, so that memory does not depend on the model. It returns a
//! [`Proof`]: for each target the norm of ΔW and how many elements changed after rounding. Other tensors are the base's.
//! This crate knows no architecture and no layout of files. [`unmerge`] takes a difference of weights apart into factors.

mod base;
mod deltas;
mod error;
mod placement;
mod proof;
mod stream;
mod tensor;
mod unmerge;
mod whole;

pub use base::BaseTensors;
pub use deltas::{Combination, Deltas, WeightedAdapter};
pub use error::MergeError;
pub use placement::{Destination, Placement, TensorPlan};
pub use proof::{Proof, TargetProof};
pub use stream::merge;
pub use unmerge::{Extracted, unmerge};
pub use whole::Merged;
