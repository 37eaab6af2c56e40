//! 4-bit and 8-bit weights, as bitsandbytes has them: for QLoRA (arXiv 2305.14314) and for `LLM.int8()` (arXiv 2208.07339).
//!
//! - [`Quantization`]: a scheme by its name with its settings; quantises weights, layers and, by [`QuantizingSource`], a model
//!   as it is loaded;
//! - [`QuantWeight`], [`QuantLinear`]: a quantised weight, and the linear layer over one; [`product`] is its forward pass;
//! - [`StoredSource`]: a checkpoint that bitsandbytes has quantised, opened by memory map; [`write_quantized`] writes one.

mod error;
mod four_bit;
mod linear;
mod product;
mod quantization;
mod quantization_config;
mod scheme;
mod schemes;
mod scratch;
mod source;
mod stored;
mod weight;
mod write;

pub use error::QuantError;
pub use linear::QuantLinear;
pub use product::product;
pub use quantization::Quantization;
pub use quantization_config::{quantization_config, read_quantization_config};
pub use source::QuantizingSource;
pub use stored::{StoredSource, is_quantized};
pub use weight::QuantWeight;
pub use write::write_quantized;

#[cfg(feature = "testing")]
pub use scratch::{DequantizedBytes, dequantized_bytes, reset_dequantized_peak};
