//! What libtorch has and tch does not bind, through a small C++ side in `cpp/`.
//!
//! - [`checkpoint`]: activation checkpointing of any closure;
//! - [`custom`]: an operation whose forward and backward passes are closures;
//! - [`linear_cross_entropy`]: the language-model head and its loss without the logits in memory;
//! - [`linear`]: a dense layer whose few rows are as fast as memory;
//! - [`rms_norm`], [`rotate_half`]: what a decoding step does between two products, in one pass each;
//! - [`parallel`]: loops of our own on libtorch's threads;
//! - [`dynamic8`]: blocks of 8-bit codes with a dynamic exponent, as bitsandbytes keeps optimiser states and block scales;
//! - [`tensor_over`]: a tensor that looks at memory somebody else owns, and keeps the owner alive;
//! - [`Generator`]: random numbers that leave the process's default generators alone;
//! - [`cuda`]: starting CUDA in a program that links only the CPU libraries, and its allocator's statistics;
//! - [`kernel`]: CUDA kernels of our own, compiled and launched at run time;
//! - [`CudaGraph`]: work on a CUDA device recorded once and repeated;
//! - [`process_memory`]: what this process holds in host memory.
#![expect(unsafe_code, reason = "this crate is the boundary to C++")]

mod checkpoint;
mod cross_entropy;
pub mod cuda;
mod custom;
pub mod dynamic8;
mod error;
mod fused;
mod generator;
mod graph;
pub mod kernel;
mod linear;
mod memory;
mod parallel;
mod storage;

pub use checkpoint::checkpoint;
pub use cross_entropy::linear_cross_entropy;
pub use custom::custom;
pub use error::ExtError;
pub use fused::{rms_norm, rotate_half};
pub use generator::Generator;
pub use graph::{CudaGraph, is_recording};
pub use linear::linear;
pub use memory::{ProcessMemory, process_memory};
pub use parallel::parallel;
pub use storage::tensor_over;
