//! The statistics of the report.

mod fit;
mod interval;
mod sign;
mod summary;

pub(crate) use fit::{Line, Power, line, power};
pub(crate) use interval::{Interval, Side, interval};
pub(crate) use sign::sign_test;
pub(crate) use summary::{Summary, summary};
