//! The sources of the kernels, and the names of their functions.

use crate::cuda::Source;

/// The most rows of inputs that a kernel multiplies with.
pub(super) const MAX_ROWS: usize = 16;

/// Rows that there is a kernel for; a number between two takes the larger.
pub(super) const ROWS: [usize; 5] = [1, 2, 4, 8, MAX_ROWS];
pub(super) const MATVEC4_NAMES: [&str; 5] =
    ["nf4_matvec_1", "nf4_matvec_2", "nf4_matvec_4", "nf4_matvec_8", "nf4_matvec_16"];
pub(super) const MATVEC8_NAMES: [&str; 5] =
    ["int8_matvec_1", "int8_matvec_2", "int8_matvec_4", "int8_matvec_8", "int8_matvec_16"];

const BFLOAT16: (&str, &str) = ("bfloat16.cuh", include_str!("../../cuda/bfloat16.cuh"));
const BLOCKS4: (&str, &str) = ("blocks4.cuh", include_str!("../../cuda/blocks4.cuh"));

pub(super) static DEQUANTIZE: Source = Source {
    name: "nf4_dequantize.cu",
    text: include_str!("../../cuda/nf4_dequantize.cu"),
    headers: &[BFLOAT16, BLOCKS4],
};
pub(super) static MATVEC4: Source = Source {
    name: "nf4_matvec.cu",
    text: include_str!("../../cuda/nf4_matvec.cu"),
    headers: &[BFLOAT16, BLOCKS4],
};
pub(super) static MATVEC8: Source =
    Source { name: "int8_matvec.cu", text: include_str!("../../cuda/int8_matvec.cu"), headers: &[BFLOAT16] };
pub(super) static QUANTIZE: Source = Source {
    name: "nf4_quantize.cu",
    text: include_str!("../../cuda/nf4_quantize.cu"),
    headers: &[BFLOAT16],
};
