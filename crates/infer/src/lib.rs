//! Text generation over any [`nn_core::CausalLm`].

mod error;
mod greedy;

pub use error::InferError;
pub use greedy::{GenerateConfig, greedy};
