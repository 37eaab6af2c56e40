//! Fetches PyTorch's libtorch without Python: the wheel from the index that pip would use, or from PyTorch's own, checked, continued
//! where it broke off, and unpacked as far as Rust needs it. Tells which CUDA build serves a machine.
//!
//! What is taken from PyTorch's wheel are `torch/lib`, `torch/include` and `torch/version.py`; from the packages of CUDA libraries
//! everything. The wheels for different Pythons hold the same headers, and libraries built from the same source: any will do.

mod active;
mod cuda;
mod disk;
mod download;
mod env;
mod error;
mod gpu;
mod html;
mod http;
mod index;
mod indexes;
mod install;
mod installed;
mod netrc;
mod pip;
mod plan;
mod proxy;
mod report;
mod requirement;
mod setup;
mod unpack;
mod url;
mod version;
mod wheel;

pub use active::active;
pub use cuda::{Build, Choice, choose};
pub use disk::free_space;
pub use env::Env;
pub use error::{GetError, size};
pub use gpu::{Gpu, Gpus};
pub use indexes::{Indexes, PYTORCH};
pub use install::{Installer, lock};
pub use installed::{Unfit, VERSION, build_of, check, has_cuda_packages};
pub use pip::PipSettings;
pub use report::{Report, Silent};
pub use setup::Wanted;
pub use wheel::Platform;
