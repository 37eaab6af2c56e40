//! The whole model: equal to transformers, and the laws that hold whatever the weights.

mod common;
mod laws;
mod transformers;
