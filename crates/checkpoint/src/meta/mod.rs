//! Meta's own checkpoints: `consolidated.NN.pth` and `params.json`.

mod checkpoint;
mod names;
mod params;
mod write;

pub use checkpoint::{MetaCheckpoint, MetaSource};
pub use write::{MetaPart, meta_params, meta_parts};
