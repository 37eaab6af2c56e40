//! Small operations between two products, forward and backward in one pass each: by loops on a CPU, by kernels on a CUDA device, and
//! by libtorch's operations elsewhere ([`Passes`](passes::Passes) decides).
//!
//! As tensor operations a norm is seven calls and a rotation nine. For the few thousand numbers of a decoding step the calls cost
//! more than the numbers; for the millions of a training step every call is one more way through memory.

mod attention;
mod cached_attention;
mod dropout;
mod exponential;
mod flash_attention;
mod gradient;
mod low_rank;
mod low_rank_gpu;
mod mask;
mod outputs;
mod passes;
mod rank;
mod rms_norm;
mod rotate_half;
mod swiglu;

pub use attention::causal_attention;
pub use cached_attention::append_and_attend;
pub use flash_attention::TextEnds;
pub use low_rank::add_low_rank;
pub use mask::Dropout;
pub use rank::LowRank;
pub use rms_norm::rms_norm;
pub use rotate_half::{rotate_both, rotate_half};
pub use swiglu::swiglu;
