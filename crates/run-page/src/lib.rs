//! Training runs to look at.
//!
//! - [`Watch`] follows a run: it serves a live page, and leaves `run.html` (the same page, with its figures in it) and `loss.svg`
//!   beside the results. Where a page cannot be served or written, the run goes on.
//! - [`RunRecord`] is what a run left in its directory; [`comparison`] says where several differ, [`page()`] shows them, one or
//!   many, in a browser, and [`sparkline`] in a line of text.
//!
//! Names, prompts and answers are texts of others: nothing of them becomes HTML, SVG or script.

// A message must never end the work: `eprintln!` panics where nobody reads.
#![warn(clippy::print_stderr)]

mod comparison;
mod error;
mod escape;
mod live;
mod page;
mod picture;
mod record;
mod samples;
mod sparkline;
mod watch;

pub use comparison::{Difference, comparison};
pub use error::RunPageError;
pub use page::page;
pub use picture::loss_svg;
pub use record::{RunRecord, State};
pub use samples::{Answer, Sample, SamplePrompt, Sampler};
pub use sparkline::sparkline;
pub use watch::{Watch, Watched};
