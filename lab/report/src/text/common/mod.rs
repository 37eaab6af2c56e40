//! Parts of both reports.

mod cells;
mod checks;
mod environment;
mod failed;
mod groups;
mod quality;
mod reproduce;
mod samples;
mod settings;

pub(super) use cells::{label_of, number, peak_mib, text, unit_of, variants_table};
pub(super) use checks::{Check, checks_table, failed_checks};
pub(super) use environment::environment;
pub(super) use failed::failed;
pub(super) use groups::bars;
pub(super) use quality::exact_against_reference;
pub(super) use reproduce::reproduce;
pub(super) use samples::samples;
pub(super) use settings::settings_table;
