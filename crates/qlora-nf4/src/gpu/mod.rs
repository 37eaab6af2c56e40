//! Kernels for a CUDA device: their sources, how they are launched, and the laws they are held to.
//!
//! The sources in `kernels/` are compiled on the user's machine (`torch_ext::kernel`). Before a kernel is used for the first
//! time on a device, it has to give there what tensor operations give ([`laws`]); one that does not, or that cannot be
//! compiled or launched, is not used, and that is said once. The tests run the same sources in an emulator on a CPU.

mod device;
#[cfg(test)]
mod emulator;
mod error;
mod launches;
mod laws;
#[cfg(test)]
mod tests;
mod verdicts;

use torch_ext::kernel::Source;

pub(crate) use device::{dequantize_into, matvec4, matvec8, quantize};

/// The most rows of inputs that a kernel multiplies with.
pub(crate) const MAX_ROWS: usize = 16;

/// Rows that there is a kernel for; a number between two takes the larger.
const ROWS: [usize; 5] = [1, 2, 4, 8, MAX_ROWS];
const MATVEC4_NAMES: [&str; 5] =
    ["nf4_matvec_1", "nf4_matvec_2", "nf4_matvec_4", "nf4_matvec_8", "nf4_matvec_16"];
const MATVEC8_NAMES: [&str; 5] =
    ["int8_matvec_1", "int8_matvec_2", "int8_matvec_4", "int8_matvec_8", "int8_matvec_16"];

const BFLOAT16: (&str, &str) = ("bfloat16.cuh", include_str!("../../kernels/bfloat16.cuh"));
const BLOCKS4: (&str, &str) = ("blocks4.cuh", include_str!("../../kernels/blocks4.cuh"));

static DEQUANTIZE: Source = Source {
    name: "nf4_dequantize.cu",
    text: include_str!("../../kernels/nf4_dequantize.cu"),
    headers: &[BFLOAT16, BLOCKS4],
};
static MATVEC4: Source = Source {
    name: "nf4_matvec.cu",
    text: include_str!("../../kernels/nf4_matvec.cu"),
    headers: &[BFLOAT16, BLOCKS4],
};
static MATVEC8: Source = Source {
    name: "int8_matvec.cu",
    text: include_str!("../../kernels/int8_matvec.cu"),
    headers: &[BFLOAT16],
};
static QUANTIZE: Source = Source {
    name: "nf4_quantize.cu",
    text: include_str!("../../kernels/nf4_quantize.cu"),
    headers: &[BFLOAT16],
};
