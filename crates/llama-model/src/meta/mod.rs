//! Meta's own checkpoints: `consolidated.NN.pth` and `params.json`.

mod checkpoint;
mod names;
mod params;

pub use checkpoint::{MetaCheckpoint, MetaSource};
