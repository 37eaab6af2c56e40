//! Text generation over any [`nn_core::CausalLm`].

mod config;
#[cfg(test)]
mod counter;
mod error;
mod generation;
mod greedy;
mod text;

pub use config::{GenerateConfig, SamplingConfig};
pub use error::InferError;
pub use generation::{FinishReason, Generation};
pub use greedy::greedy;
pub use text::{BoxError, TextStream, TokenText};
