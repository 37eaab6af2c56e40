//! Reports of made-up results. No number in them was ever measured, and every title says so.
#![allow(
    clippy::unwrap_used,
    clippy::float_cmp,
    reason = "made-up results: what does not unwrap is a mistake in them"
)]

mod faults;
mod handed_in;
mod made;
mod sentences;
pub(crate) mod synthetic;
