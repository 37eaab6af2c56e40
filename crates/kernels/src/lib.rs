//! Loops over the elements of tensors, where libtorch's own are slower than memory or do not exist.
//!
//! - [`linear`]: a dense layer whose few rows are as fast as memory;
//! - [`rms_norm`], [`rotate_half`] and [`rotate_both`], [`swiglu`], [`add_low_rank`], [`Dropout`]: the operations between two products, forward and
//!   backward in one pass each;
//! - [`causal_attention`], [`TextEnds`]: attention within short texts on a CPU, within any texts in one call on a GPU;
//! - [`Blocks4`]: blocks of 4-bit codes, bit for bit those of bitsandbytes on the CPU, and products with them;
//! - [`Rows8`]: rows of 8-bit codes, as `LLM.int8()` has them, and products with them;
//! - [`dynamic8`]: blocks of 8-bit codes with a dynamic exponent, as bitsandbytes keeps optimiser states and block scales;
//! - [`add_delta`]: the sum of a weight and an adapter's delta, with the statistics that merging proves itself by.
//!
//! On a CPU the loops run on libtorch's threads, with AVX-512, AVX2 or NEON where the processor has them; on a CUDA device
//! kernels are compiled from the sources in `cuda/` when the first one is needed. Whatever a loop or kernel computes can be
//! computed without it: where there is none, libtorch's operations run.

mod blocks4;
mod buffer_pool;
mod cuda;
mod data;
mod delta;
pub mod dynamic8;
mod element;
mod error;
mod fused;
mod gpu;
mod linear;
mod memory;
mod processor;
mod reference;
mod rows;
mod rows8;
mod seed;
mod simd;
mod widest;

pub use data::{Blocks4, Rows8, Scales};
pub use delta::{DeltaSums, add_delta};
pub use fused::{
    Dropout, LowRank, TextEnds, add_low_rank, append_and_attend, causal_attention, rms_norm, rotate_both,
    rotate_half, swiglu,
};
pub use linear::linear;
pub use processor::multiplies_bf16;
pub use seed::mix_seed;
pub use simd::CodeTable;

#[cfg(test)]
torch_ext::load_cuda_first!();
