//! Plots, as SVG and PNG, in a font that is in the binary.
//!
//! plotters draws lines, polygons and letters; axes and legends are ours, so that ticks stand at the sizes that were
//! measured and a legend never lies on the data.

mod axis;
mod bars;
mod canvas;
mod chart;
mod curves;
mod face;
mod files;
mod label_font;
mod style;
mod terminal;

pub(crate) use chart::{Axis, Chart, Content, Draw, Group, Scale, Series};
pub(crate) use face::standalone_face;
pub(crate) use files::{Rendered, render};
pub(crate) use label_font::LabelFont;
