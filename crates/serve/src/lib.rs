//! Answers over HTTP: an OpenAI-compatible API and a web page, over any [`nn_core::CausalLm`].
//!
//! A [`Server`] is given [`Source`]s: models with the functions of their tokenizers. Each source has one thread that owns
//! its model and continues all its requests together; requests wait in a bounded queue that is fair between clients.

mod api;
mod config;
mod engine;
mod error;
mod fair_queue;
mod job;
mod listener;
mod memory;
mod metrics;
mod server;
mod source;

pub use config::{Limits, PageDefaults, ServeConfig};
pub use error::ServeError;
pub use server::{Server, StopHandle};
pub use source::{Source, SourceText};
