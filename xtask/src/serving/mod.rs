//! A server in a process of its own, and an honest client of it, for those who trouble it.

mod client;
mod server;

pub use client::{complete, connect, post};
pub use server::Server;
