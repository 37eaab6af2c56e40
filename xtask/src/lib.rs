//! Shared parts of the workspace's own tools: the checkout and its cargo, child processes, the peers' Python, the set-up, flag pages.
//!
//! The binary of this crate is `cargo xtask`; `benches` and `lab` build on this library. It links no libtorch, since fetching
//! that is its first task.

pub mod cover;
mod fetching;
pub mod flag_page;
pub mod measure;
pub mod nvrtc;
pub mod output;
pub mod process;
mod programs;
pub mod python;
pub mod serving;
pub mod setup;
pub mod workspace;
