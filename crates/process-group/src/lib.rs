//! Several processes that compute as one.
//!
//! - [`Launch`]: who this process is among them, as `torchrun`, Slurm, Open MPI or [`run_processes`] say it in the environment;
//! - [`ProcessGroup`]: sums and copies over all of them, on GPUs by NVIDIA's NCCL, on CPUs by libtorch's Gloo; agreement on what they are about to do;
//! - a process that fails says so to all others, and one that dies is noticed by its silence: whoever waits for it
//!   gets an error that names it ([`GroupError::Left`]);
//! - [`run_processes`]: starts them on one machine.
//!
//! A group of one process costs nothing: [`ProcessGroup::alone`].

// A message must never end the work: `eprintln!` panics where nobody reads.
#![warn(clippy::print_stderr)]

mod engine;
mod error;
mod group;
mod keys;
mod launch;
mod launcher;
mod nccl;
mod roll_call;
mod slurm;
mod spawn;
mod watch;

pub use error::GroupError;
pub use group::ProcessGroup;
pub use launch::Launch;
pub use launcher::Launcher;
pub use spawn::{Ended, run_processes};
