//! What an experiment left: `experiment.json` and `results.jsonl`.

mod cell;
mod experiment;
mod load;
mod select;
mod settings;

pub use cell::{Cell, Text};
pub use experiment::{Experiment, Kind, Variant};
pub(crate) use experiment::{plain, shown};
pub use load::{Results, load};
pub use select::Select;
