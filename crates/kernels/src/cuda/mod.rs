//! CUDA kernels, compiled from their source at run time, once in a process, and launched.
//!
//! Nothing of CUDA is linked. NVRTC and the driver are opened when the first kernel is launched; a machine that lacks one of
//! them gets an error, and its caller computes in another way.

mod driver;
mod launch;
mod nvrtc;

pub(crate) use launch::{Argument, Launch, Source};
#[cfg(test)]
pub(crate) use nvrtc::compile;
