//! Text generation over any [`nn_core::CausalLm`].
//!
//! [`generate`] continues prompts to their end, [`generate_streaming`] shows the text meanwhile; [`Batcher`] lets requests join and leave while others go on; both choose
//! tokens as a [`SamplingConfig`] says: the best, a draw, or a beam search. [`TextStream`] turns tokens into text that can
//! be shown at once. [`greedy`] is the short form without text, [`perplexity`] asks how well a model predicts a text.

mod batcher;
mod beam;
mod config;
#[cfg(test)]
mod counter;
mod device_draw;
mod draw;
mod error;
mod generate;
mod generation;
mod greedy;
mod logprobs;
mod perplexity;
mod process;
mod request;
mod sequence;
mod text;

pub use batcher::{BatchEvent, Batcher};
pub use config::{GenerateConfig, SamplingConfig};
pub use error::InferError;
pub use generate::{generate, generate_streaming};
pub use generation::{FinishReason, Generation};
pub use greedy::greedy;
pub use logprobs::TokenLogprob;
pub use nn_core::BoxError;
pub use perplexity::{Perplexity, perplexity, windows};
pub use request::{Request, RequestId};
pub use text::{TextStream, TokenText};

#[cfg(test)]
torch_ext::load_cuda_first!();
