//! Bindings of what libtorch has and tch does not, through a small C++ side in `cpp/`.
//!
//! - [`checkpoint`]: activation checkpointing of any closure;
//! - [`custom`]: an operation whose forward and backward passes are closures;
//! - [`linear_cross_entropy`]: the language-model head and its loss without the logits in memory;
//! - [`flash_attention`]: attention within texts of many lengths in one call of a GPU;
//! - [`parallel`]: loops on libtorch's threads;
//! - [`tensor_over`]: a tensor that looks at memory somebody else owns, and keeps the owner alive;
//! - [`Generator`]: random numbers that leave the process's default generators alone;
//! - [`cuda`]: starting CUDA in a program that links only the CPU libraries, and its allocator's statistics;
//! - [`distributed`]: the keys and the collectives of several processes;
//! - [`CudaGraph`]: work on a CUDA device recorded once and repeated;
//! - [`process_memory`]: host memory of this process;
//! - [`setting`]: what the libtorch in use was built with.
#![expect(unsafe_code, reason = "this crate is the boundary to C++")]

mod attention;
mod checkpoint;
mod cross_entropy;
pub mod cuda;
mod custom;
pub mod distributed;
mod error;
mod generator;
mod graph;
mod memory;
mod parallel;
mod settings;
mod storage;

/// Loads CUDA before `main` and before any test of a program, where there is one: once in the root file of a test program with tests
/// for a GPU. Tests run in any order, and libtorch keeps its first answer to who asks for CUDA, sets a seed or runs a
/// backward pass.
#[macro_export]
macro_rules! load_cuda_first {
    () => {
        #[cfg(target_os = "linux")]
        #[allow(unsafe_code, reason = "a constructor")]
        #[used]
        #[unsafe(link_section = ".init_array")]
        static LOAD_CUDA_FIRST: extern "C" fn() = $crate::cuda::load_first;
    };
}

#[cfg(test)]
load_cuda_first!();

pub use attention::flash_attention;
pub use checkpoint::checkpoint;
pub use cross_entropy::{linear_cross_entropy, logits_at_once};
pub use custom::{custom, custom_of, custom_with};
pub use error::{ExtError, with_causes};
pub use generator::Generator;
pub use graph::CudaGraph;
pub use memory::{ProcessMemory, process_memory};
pub use parallel::{Tasks, parallel};
pub use settings::setting;
pub use storage::tensor_over;
