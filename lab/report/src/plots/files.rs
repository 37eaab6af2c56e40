//! A chart as SVG text and as the bytes of a PNG.

use anyhow::{Context, Result, anyhow};
use base64::Engine;
use plotters::prelude::*;

use super::canvas::{Canvas, size_px};
use super::label_font::LabelFont;
use super::{Chart, Content, bars, curves, terminal};

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
    if let Content::Picture { png } = &chart.content {
        return framed(&chart.stem, png);
    }
    let height = match &chart.content {
        Content::Curves { .. } => curves::HEIGHT,
        Content::Bars { groups, .. } => bars::height(groups.len()),
        Content::Terminal { lines } => terminal::height(lines),
        Content::Picture { .. } => 0.0,
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

/// Returns a picture in both formats: an SVG around it.
fn framed(stem: &str, png: &[u8]) -> Result<Rendered> {
    let size = image::ImageReader::with_format(std::io::Cursor::new(png), image::ImageFormat::Png);
    let size = size.into_dimensions().with_context(|| format!("the picture `{stem}` is no PNG"))?;
    let (width, height) = size;
    let data = base64::engine::general_purpose::STANDARD.encode(png);
    let svg = format!(
        "<svg width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         xmlns=\"http://www.w3.org/2000/svg\">\n<image width=\"{width}\" height=\"{height}\" \
         href=\"data:image/png;base64,{data}\"/>\n</svg>\n"
    );
    Ok(Rendered { stem: stem.to_owned(), svg, png: png.to_vec(), size })
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
            Content::Terminal { lines } => terminal::draw(&canvas, lines)?,
            Content::Picture { .. } => {}
        }
    }
    area.present().map_err(|error| anyhow!("cannot draw: {error}"))
}
