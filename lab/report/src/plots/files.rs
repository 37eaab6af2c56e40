//! A chart as SVG text and as the bytes of a PNG.

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use super::canvas::{Canvas, size_px};
use super::label_font::LabelFont;
use super::{Chart, Content, bars, curves};

/// A chart in both formats.
#[derive(Debug, Clone)]
pub(crate) struct Rendered {
    /// Name of its files.
    pub(crate) stem: String,
    /// An SVG document.
    pub(crate) svg: String,
    /// A PNG file.
    pub(crate) png: Vec<u8>,
    /// Width and height of the PNG.
    pub(crate) size: (u32, u32),
}

impl Rendered {
    /// Finds the plot of a figure.
    pub(crate) fn find<'a>(plots: &'a [Self], stem: &str) -> Option<&'a Self> {
        plots.iter().find(|plot| plot.stem == stem)
    }
}

/// Draws a chart.
pub(crate) fn render(chart: &Chart, font: &LabelFont) -> Result<Rendered> {
    let height = match &chart.content {
        Content::Curves { .. } => curves::HEIGHT,
        Content::Bars { groups, .. } => bars::height(groups.len()),
    };
    let size = size_px(height);
    let mut svg = String::new();
    draw(&SVGBackend::with_string(&mut svg, size).into_drawing_area(), chart, font, false)?;
    let svg = font.name_families(svg);
    let mut pixels = vec![0; 3 * size.0 as usize * size.1 as usize];
    draw(&BitMapBackend::with_buffer(&mut pixels, size).into_drawing_area(), chart, font, true)?;
    let mut png = Vec::new();
    let encoder = image::codecs::png::PngEncoder::new(&mut png);
    image::ImageEncoder::write_image(encoder, &pixels, size.0, size.1, image::ExtendedColorType::Rgb8)?;
    Ok(Rendered { stem: chart.stem.clone(), svg, png, size })
}

fn draw<B: DrawingBackend>(
    area: &DrawingArea<B, plotters::coord::Shift>,
    chart: &Chart,
    font: &LabelFont,
    white: bool,
) -> Result<()> {
    if white {
        area.fill(&WHITE).map_err(|error| anyhow!("cannot draw: {error}"))?;
    }
    {
        let canvas = Canvas::new(area, font, white);
        match &chart.content {
            Content::Curves { x, y, series } => curves::draw(&canvas, x, y, series)?,
            Content::Bars { label, groups } => bars::draw(&canvas, label, groups)?,
        }
    }
    area.present().map_err(|error| anyhow!("cannot draw: {error}"))
}
