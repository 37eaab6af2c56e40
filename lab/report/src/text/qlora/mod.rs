//! Task 2: LoRA and QLoRA on growing data.

mod checks;
mod discussion;
mod distance;
mod fits;
mod implementation;
mod intro;
mod plots;
mod results;
mod summary;

pub(super) use discussion::{discussion, limits};
pub(super) use implementation::implementation;
pub(super) use intro::{method, question};
pub(super) use results::results;
pub(super) use summary::summary;

use crate::results::{Results, Variant};

/// The peak that counts: of the device where there is one.
fn peak_metric(results: &Results) -> &'static str {
    if results.has("peak_device_mib") { "peak_device_mib" } else { "peak_host_mib" }
}

/// Variants other than the reference, of which something ran.
fn others(results: &Results) -> Vec<&Variant> {
    results.ran().into_iter().filter(|variant| variant.name != results.experiment.reference).collect()
}
