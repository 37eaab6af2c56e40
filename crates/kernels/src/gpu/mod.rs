//! CUDA kernels for codes of 4 and 8 bits: their sources, their launches and their checks.
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
#[cfg(test)]
mod tests;

use crate::cuda::Source;

#[cfg(test)]
pub(crate) use checks::{hard_numbers, numbers, ways};
pub(crate) use device::{dequantize, product4, product8, quantize};

/// The most rows of inputs that a kernel multiplies with.
const MAX_ROWS: usize = 16;

/// Rows that there is a kernel for; a number between two takes the larger.
const ROWS: [usize; 5] = [1, 2, 4, 8, MAX_ROWS];
const MATVEC4_NAMES: [&str; 5] =
    ["nf4_matvec_1", "nf4_matvec_2", "nf4_matvec_4", "nf4_matvec_8", "nf4_matvec_16"];
const MATVEC8_NAMES: [&str; 5] =
    ["int8_matvec_1", "int8_matvec_2", "int8_matvec_4", "int8_matvec_8", "int8_matvec_16"];

const BFLOAT16: (&str, &str) = ("bfloat16.cuh", include_str!("../../cuda/bfloat16.cuh"));
const BLOCKS4: (&str, &str) = ("blocks4.cuh", include_str!("../../cuda/blocks4.cuh"));

static DEQUANTIZE: Source = Source {
    name: "nf4_dequantize.cu",
    text: include_str!("../../cuda/nf4_dequantize.cu"),
    headers: &[BFLOAT16, BLOCKS4],
};
static MATVEC4: Source = Source {
    name: "nf4_matvec.cu",
    text: include_str!("../../cuda/nf4_matvec.cu"),
    headers: &[BFLOAT16, BLOCKS4],
};
static MATVEC8: Source =
    Source { name: "int8_matvec.cu", text: include_str!("../../cuda/int8_matvec.cu"), headers: &[BFLOAT16] };
static QUANTIZE: Source = Source {
    name: "nf4_quantize.cu",
    text: include_str!("../../cuda/nf4_quantize.cu"),
    headers: &[BFLOAT16],
};
