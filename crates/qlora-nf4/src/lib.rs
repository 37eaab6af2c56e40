//! 4-bit and 8-bit weights, as bitsandbytes has them: for QLoRA (arXiv 2305.14314) and for `LLM.int8()` (arXiv 2208.07339).
//!
//! - [`Tensor4`], [`Tensor8`]: codecs, bit for bit those of bitsandbytes 0.50 on the CPU;
//! - [`QuantLinear`]: a linear layer over them; [`product`] and [`transposed_product`] are its two passes;
//! - [`QuantizingSource`]: quantises a model's layers as it is loaded;
//! - [`StoredSource`]: a checkpoint that bitsandbytes has quantised, opened by memory map; [`write_quantized`] writes one;
//! - [`Quantization::round_trip`]: quantise and dequantise, for whom wants what the quantised model computes with.

mod checkpoint;
mod code4;
mod cpu;
mod error;
mod gpu;
mod linear;
mod memory;
mod product;
mod quantization_config;
mod recycled;
mod scratch;
mod source;
mod stored;
mod tensor4;
mod tensor8;
mod twin;
mod view;

pub use checkpoint::{is_quantized, quantized_parts, write_quantized};
pub use code4::{Code4, Config4};
pub use error::QuantError;
pub use linear::QuantLinear;
pub use product::{QuantWeight, product, transposed_product};
pub use quantization_config::{quantization_config, read_quantization_config};
pub use scratch::{DequantizedBytes, dequantized_bytes, reset_dequantized_peak};
pub use source::{Quantization, QuantizingSource};
pub use stored::StoredSource;
pub use tensor4::{Absmax, Tensor4};
pub use tensor8::{OUTLIER_THRESHOLD, Tensor8};
