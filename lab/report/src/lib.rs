//! An experiment's results as a report: Markdown, HTML, PDF and Word, with plots.
//!
//! [`load`] reads what `cargo xtask experiment` left; templates turn the numbers into a [`document`], once for each
//! language; writers turn the document into files. Nothing but the results, the workspace's sources (for excerpts) and a
//! font goes in, so the same results make the same bytes.

pub mod document;
pub mod excerpt;
mod format;
pub mod generate;
pub mod lang;
pub mod page;
pub mod plots;
pub mod results;
pub mod stats;
pub mod text;
pub mod write;

pub use generate::{Format, Settings, generate};
pub use lang::Lang;
pub use results::load;
