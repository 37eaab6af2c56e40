//! The command line of `cargo xtask load`; xtask compiles this file too, for its help and its page of flags.

use std::path::PathBuf;

use clap::Args;

/// Drive the server with many clients, some of which misbehave: latency, errors, memory
#[derive(Debug, Args)]
pub(crate) struct LoadArgs {
    /// Model that is served
    #[arg(long, value_name = "DIR", default_value = "datasets/tiny-llama")]
    pub(crate) model: PathBuf,
    /// Honest clients at once
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub(crate) clients: usize,
    /// Requests of the honest clients, alone and again beside the others
    #[arg(long, value_name = "N", default_value_t = 2000)]
    pub(crate) requests: usize,
    /// Clients that misbehave, of each kind
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub(crate) hostile: usize,
}
