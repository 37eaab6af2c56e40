//! Benches: the programs that are timed, and the comparisons with their peers in Python that `cargo xtask bench` runs,
//! and the load that `cargo xtask load` puts on the server.
//!
//! Nothing here is installed with the programs. The peers' scripts and `gpu.sh` lie beside this crate's `src`.

pub mod peers;
pub mod programs;
pub mod server_load;
