//! The programs that are timed: each does one thing over and over and prints seconds as JSON.

pub mod decode;
pub mod kernels;
pub mod load;
pub mod nf4;
mod products;
pub mod step;
pub mod tokenize;
