//! CUDA kernels, for codes of 4 and 8 bits and for fused passes: their sources, their launches and their checks.
//!
//! The sources in `cuda/` are compiled on the user's machine ([`crate::cuda`]). Before a kernel is used for the first time on a
//! device, it has to give there what tensor operations give ([`checks`]); one that does not, or that cannot be compiled or
//! launched, is not used, and that is logged once. The tests run the same sources in an emulator on a CPU.

mod checks;
mod device;
#[cfg(test)]
mod emulator;
mod kernel_status;
mod launches;
mod pass;
mod pass_checks;
mod pass_launches;
#[cfg(test)]
mod pass_tests;
mod passes;
mod sources;
#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use checks::{hard_numbers, ways};
pub(crate) use checks::{numbers, within};
pub(crate) use device::{dequantize, dequantize8, product4, product8, quantize};
pub(crate) use kernel_status::KernelStatus;
pub(crate) use pass::Pass;
pub(crate) use passes::{
    dropout, narrow_factors, rms_norm, rms_norm_backward, rotate_both, swiglu, swiglu_backward, widen_factors,
};
