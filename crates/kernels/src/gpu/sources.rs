//! The sources of the kernels, and the names of their functions.

use tch::Kind;

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
const ELEMENT: (&str, &str) = ("element.cuh", include_str!("../../cuda/element.cuh"));

/// The least compute capability that rounds to bfloat16 by one instruction.
const ROUNDS_BFLOAT16: i32 = 80;
/// The least that NVRTC of CUDA 12 and the kernels of floating-point kinds know.
const ANY: i32 = 70;

pub(super) static DEQUANTIZE: Source = Source {
    name: "nf4_dequantize.cu",
    text: include_str!("../../cuda/nf4_dequantize.cu"),
    headers: &[BFLOAT16, BLOCKS4],
    kernels: &["nf4_dequantize"],
    least_capability: ROUNDS_BFLOAT16,
};
pub(super) static MATVEC4: Source = Source {
    name: "nf4_matvec.cu",
    text: include_str!("../../cuda/nf4_matvec.cu"),
    headers: &[BFLOAT16, BLOCKS4],
    kernels: &MATVEC4_NAMES,
    least_capability: ROUNDS_BFLOAT16,
};
pub(super) static MATVEC8: Source = Source {
    name: "int8_matvec.cu",
    text: include_str!("../../cuda/int8_matvec.cu"),
    headers: &[BFLOAT16],
    kernels: &MATVEC8_NAMES,
    least_capability: ROUNDS_BFLOAT16,
};
pub(super) static QUANTIZE: Source = Source {
    name: "nf4_quantize.cu",
    text: include_str!("../../cuda/nf4_quantize.cu"),
    headers: &[BFLOAT16],
    kernels: &["nf4_quantize"],
    least_capability: ROUNDS_BFLOAT16,
};

/// The kinds that kernels of floating-point numbers are there for, in the order of their names.
pub(super) const KINDS: [Kind; 3] = [Kind::Float, Kind::BFloat16, Kind::Half];

/// Makes a source whose kernels are there for each of [`KINDS`]: each name with the kind behind it.
macro_rules! of_floats {
    ($static:ident, $file:literal, $($names:ident: $name:literal),+) => {
        $(pub(super) const $names: [&str; 3] =
            [concat!($name, "_float32"), concat!($name, "_bfloat16"), concat!($name, "_float16")];)+
        pub(super) static $static: Source = Source {
            name: $file,
            text: include_str!(concat!("../../cuda/", $file)),
            headers: &[ELEMENT],
            kernels: &[$(
                concat!($name, "_float32"), concat!($name, "_bfloat16"), concat!($name, "_float16"),
            )+],
            least_capability: ANY,
        };
    };
}

of_floats!(DEQUANTIZE8, "int8_dequantize.cu", NUMBERS8: "int8_dequantize");
of_floats!(RMS_NORM, "rms_norm.cu", NORMS: "rms_norm", NORM_GRADIENTS: "rms_norm_backward");
of_floats!(ROTATE_HALF, "rotate_half.cu", ROTATIONS: "rotate_half");
of_floats!(SWIGLU, "swiglu.cu", GATES: "swiglu", GATE_GRADIENTS: "swiglu_backward");
of_floats!(DROPOUT, "dropout.cu", DROPOUTS: "dropout");
of_floats!(FACTORS, "factors.cu", NARROWED: "narrow_factors", WIDENED: "widen_factors");

/// Returns the name for a kind.
pub(super) fn of_kind(names: &[&'static str; 3], kind: Kind) -> Option<&'static str> {
    let at = KINDS.iter().position(|&known| known == kind)?;
    Some(names[at])
}
