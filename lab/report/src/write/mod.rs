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
