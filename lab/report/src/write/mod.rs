//! The writers: one document, four formats.

mod fonts;
mod html;
mod markdown;
mod pdf;
mod typst_source;
mod word;

pub(crate) use fonts::{find_cjk, label_font};
pub(crate) use html::html;
pub(crate) use markdown::markdown;
pub(crate) use pdf::pdf;
pub(crate) use word::docx;

use crate::plots::Rendered;

/// The plot of a figure.
fn plot<'a>(plots: &'a [Rendered], stem: &str) -> Option<&'a Rendered> {
    plots.iter().find(|plot| plot.stem == stem)
}
