//! A chart as SVG text and as the bytes of a PNG.

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use super::canvas::{Canvas, size_px};
use super::face::line_per_em;
use super::{Chart, Content, bars, curves};

/// The letters of plots.
#[derive(Debug, Clone)]
pub(crate) struct LabelFont {
    latin: Face,
    chinese: Option<Face>,
}

/// A font by its name here, and what an SVG asks for, the best first.
#[derive(Debug, Clone)]
struct Face {
    name: &'static str,
    families: String,
    line_per_em: f64,
}

impl Face {
    fn register(name: &'static str, families: String, data: &'static [u8]) -> Result<Self> {
        plotters::style::register_font(name, FontStyle::Normal, data)
            .map_err(|_| anyhow!("the font for the plots is not one OpenType font"))?;
        Ok(Self { name, families, line_per_em: line_per_em(data) })
    }
}

impl LabelFont {
    /// Letters from `latin`. `families`: what an SVG asks for, the best first.
    pub(crate) fn new(families: &str, latin: &'static [u8]) -> Result<Self> {
        Ok(Self { latin: Face::register("report-latin", families.to_owned(), latin)?, chinese: None })
    }

    /// The same, with Chinese letters from another font. Text without any stays as it was, since few Chinese fonts have small
    /// raised digits.
    pub(crate) fn with_chinese(self, families: &str, data: &'static [u8]) -> Result<Self> {
        Ok(Self { chinese: Some(Face::register("report-chinese", families.to_owned(), data)?), ..self })
    }

    /// The font for a text, by its name, and its lines over its em.
    pub(crate) fn name_for(&self, text: &str) -> (&'static str, f64) {
        let face = match &self.chinese {
            Some(chinese) if text.chars().any(|letter| letter >= '\u{2e80}') => chinese,
            _ => &self.latin,
        };
        (face.name, face.line_per_em)
    }
}

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

/// Draws a chart.
pub(crate) fn render(chart: &Chart, font: &LabelFont) -> Result<Rendered> {
    let height = match &chart.content {
        Content::Curves { .. } => curves::HEIGHT,
        Content::Bars { groups, .. } => bars::height(groups.len()),
    };
    let size = size_px(height);
    let mut svg = String::new();
    draw(&SVGBackend::with_string(&mut svg, size).into_drawing_area(), chart, font, false)?;
    for face in std::iter::once(&font.latin).chain(&font.chinese) {
        let (named, families) = (format!("\"{}\"", face.name), format!("\"{}\"", face.families));
        svg = svg.replace(&format!("font-family={named}"), &format!("font-family={families}"));
    }
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
