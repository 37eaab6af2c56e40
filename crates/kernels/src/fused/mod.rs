//! Small operations of a decoding step in one pass each.
//!
//! A step of one token works on a few thousand numbers between two products. As tensor operations that is nine calls for
//! each rotation and seven for each norm, and a call costs more than its numbers do.

mod outputs;
mod rms_norm;
mod rotate_half;

pub use rms_norm::rms_norm;
pub use rotate_half::rotate_half;
