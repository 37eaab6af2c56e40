//! Quantised tensors as the parts they are made of.

mod blocks4;
mod rows8;

pub use blocks4::{Blocks4, Scales};
pub use rows8::Rows8;
