//! Made-up results, for tests and for looking at the layout.

mod merge;
mod parts;
mod qlora;
mod random;

pub(crate) use merge::{MergeFaults, merge_compare};
pub(crate) use parts::write;
pub(crate) use qlora::{QloraFaults, lora_vs_qlora};
