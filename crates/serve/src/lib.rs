//! Answers over HTTP: an OpenAI-compatible API and a web page, over any [`nn_core::CausalLm`].
//!
//! A [`Server`] is made of [`Source`]s: models with their tokenizers and templates. Each source has one thread that owns
//! its model and continues all its requests together; requests wait in a bounded queue that is fair between clients.
//!
//! A [`SiteServer`] shows a page of something else, a [`Site`], behind the same listener and the same guard.

// A message must never end the work: `eprintln!` panics where nobody reads.
#![warn(clippy::print_stderr)]

mod activity;
mod answer;
mod api;
mod config;
mod connection;
mod error;
mod fair_queue;
mod house_style;
mod http;
mod listener;
mod lock;
mod memory;
mod metrics;
mod places;
mod prepare;
mod request_queue;
mod server;
mod site;
mod source;
mod worker;

pub use config::{Limits, PageDefaults, ServeConfig};
pub use error::ServeError;
pub use house_style::HOUSE_STYLE;
pub use http::StopHandle;
pub use server::{Loader, Server};
pub use site::{Site, SiteServer};
pub use source::{Source, SourceText};
