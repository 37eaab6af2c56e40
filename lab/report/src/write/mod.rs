//! The writers: one document, four formats.

mod fonts;
mod html;
mod markdown;
mod pdf;
mod typst_source;
mod word;

pub use fonts::{CjkFont, find_cjk, label_font};
pub use html::html;
pub use markdown::markdown;
pub use pdf::pdf;
pub use word::docx;

use crate::plots::Rendered;

/// The plot of a figure.
fn plot<'a>(plots: &'a [Rendered], stem: &str) -> Option<&'a Rendered> {
    plots.iter().find(|plot| plot.stem == stem)
}
