//! The files an experiment leaves: `experiment.json` (what was run, on what) and `results.jsonl` (one cell a line).
//! `experiment` writes them, `report` reads them.

mod cell;
mod experiment;

pub use cell::{Cell, Text};
pub use experiment::{Environment, Experiment, Kind, Variant};
