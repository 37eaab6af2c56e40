//! The statistics of the report.

mod fit;
mod interval;
mod sign;
mod summary;

pub use fit::{Line, Power, line, power};
pub use interval::{Interval, Side, interval};
pub use sign::sign_test;
pub use summary::{Summary, median, summary};
