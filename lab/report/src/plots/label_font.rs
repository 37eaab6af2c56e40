//! The fonts of a plot's letters.

use anyhow::{Result, anyhow};
use plotters::style::FontStyle;

use super::face::line_per_em;

/// The letters of plots.
#[derive(Debug, Clone)]
pub(crate) struct LabelFont {
    latin: Face,
    typewriter: Face,
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
    /// Letters from `latin`, and those of one width from `typewriter`; each with the families that an SVG asks for, the best
    /// first.
    pub(crate) fn new(
        (families, latin): (&str, &'static [u8]),
        (typewriter_families, typewriter): (&str, &'static [u8]),
    ) -> Result<Self> {
        let latin = Face::register("report-latin", families.to_owned(), latin)?;
        let typewriter = Face::register("report-typewriter", typewriter_families.to_owned(), typewriter)?;
        Ok(Self { latin, typewriter, chinese: None })
    }

    /// Adds Chinese letters from another font. Text without any stays as it was, since few Chinese fonts have small
    /// raised digits.
    pub(crate) fn with_chinese(self, families: &str, data: &'static [u8]) -> Result<Self> {
        Ok(Self { chinese: Some(Face::register("report-chinese", families.to_owned(), data)?), ..self })
    }

    /// Replaces the names of fonts in an SVG by their families.
    pub(super) fn name_families(&self, mut svg: String) -> String {
        for Face { name, families, .. } in [&self.latin, &self.typewriter].into_iter().chain(&self.chinese) {
            svg = svg.replace(&format!("font-family=\"{name}\""), &format!("font-family=\"{families}\""));
        }
        svg
    }

    /// Returns the font for a text, by its name, and its lines over its em.
    pub(crate) fn name_for(&self, text: &str) -> (&'static str, f64) {
        self.chinese_or(&self.latin, text)
    }

    /// Returns the font of one width for a text, likewise.
    pub(crate) fn typewriter_for(&self, text: &str) -> (&'static str, f64) {
        self.chinese_or(&self.typewriter, text)
    }

    fn chinese_or(&self, other: &Face, text: &str) -> (&'static str, f64) {
        let has_chinese = text.chars().any(|letter| letter >= '\u{2e80}');
        let face = self.chinese.as_ref().filter(|_| has_chinese).unwrap_or(other);
        (face.name, face.line_per_em)
    }
}
