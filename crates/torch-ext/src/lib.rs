//! What libtorch has and tch does not bind, through a small C++ side in `cpp/`.
//!
//! - [`checkpoint`]: activation checkpointing of any closure;
//! - [`linear_cross_entropy`]: the language-model head and its loss without the logits in memory;
//! - [`linear`]: a dense layer whose few rows are as fast as memory, and [`parallel_for`], loops on libtorch's threads;
//! - [`tensor_over`]: a tensor that looks at memory somebody else owns, and keeps the owner alive;
//! - [`cuda`]: starting CUDA in a program that links only the CPU libraries, and its allocator's statistics;
//! - [`process_memory`]: what this process holds in host memory.
#![expect(unsafe_code, reason = "this crate is the boundary to C++")]

mod checkpoint;
mod cross_entropy;
pub mod cuda;
mod error;
mod linear;
mod memory;
mod parallel;
mod storage;

pub use checkpoint::checkpoint;
pub use cross_entropy::linear_cross_entropy;
pub use error::ExtError;
pub use linear::linear;
pub use memory::{ProcessMemory, process_memory};
pub use parallel::parallel_for;
pub use storage::tensor_over;
