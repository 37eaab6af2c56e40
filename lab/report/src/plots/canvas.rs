//! Lines, markers and letters at places between pixels.

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::element::{Drawable, PointCollection};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::label_font::LabelFont;
use super::style::{INK, Marker};

/// Pixels of a unit: whole pixels are too coarse for lines.
const UNIT: f64 = 2.0;
/// Width of a plot in units.
pub(crate) const WIDTH: f64 = 900.0;

/// Alignment of letters to their coordinates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anchor {
    Left,
    Middle,
    Right,
    /// Turned by a quarter, centred.
    Upwards,
}

/// A place to draw on, in units from the upper left corner.
pub(crate) struct Canvas<'a, B: DrawingBackend> {
    area: &'a DrawingArea<B, Shift>,
    font: &'a LabelFont,
    /// True if plotters draws the letters itself.
    pixels: bool,
}

fn px(value: f64) -> i32 {
    (value * UNIT).round() as i32
}

/// Pixels of a plot of this height.
pub(crate) fn size_px(height: f64) -> (u32, u32) {
    (px(WIDTH) as u32, px(height) as u32)
}

impl<'a, B: DrawingBackend> Canvas<'a, B> {
    pub(crate) fn new(area: &'a DrawingArea<B, Shift>, font: &'a LabelFont, pixels: bool) -> Self {
        Self { area, font, pixels }
    }

    fn put<'e, E>(&self, element: &'e E) -> Result<()>
    where
        for<'b> &'b E: PointCollection<'b, (i32, i32)>,
        E: Drawable<B> + 'e,
    {
        self.area.draw(element).map_err(|error| anyhow!("cannot draw: {error}"))
    }

    /// Draws a line through `points`.
    pub(crate) fn line(
        &self,
        points: &[(f64, f64)],
        colour: RGBColor,
        width: f64,
        dashes: &[f64],
    ) -> Result<()> {
        let style =
            ShapeStyle { color: colour.to_rgba(), filled: false, stroke_width: px(width).max(1) as u32 };
        for part in if dashes.is_empty() { vec![points.to_vec()] } else { dashed(points, dashes) } {
            let part: Vec<(i32, i32)> = part.into_iter().map(|(x, y)| (px(x), px(y))).collect();
            if part.len() > 1 {
                self.put(&PathElement::new(part, style))?;
            }
        }
        Ok(())
    }

    /// Draws a filled rectangle.
    pub(crate) fn bar(&self, from: (f64, f64), to: (f64, f64), colour: RGBColor, opacity: f64) -> Result<()> {
        let style = ShapeStyle { color: colour.mix(opacity), filled: true, stroke_width: 0 };
        self.put(&Rectangle::new([(px(from.0), px(from.1)), (px(to.0), px(to.1))], style))
    }

    /// Draws a marker around a place.
    pub(crate) fn marker(&self, (x, y): (f64, f64), marker: Marker, colour: RGBColor) -> Result<()> {
        let r = 5.0;
        let fill = |corners: &[(f64, f64)]| {
            let corners: Vec<(i32, i32)> =
                corners.iter().map(|(dx, dy)| (px(x + dx * r), px(y + dy * r))).collect();
            self.put(&Polygon::new(corners, colour.filled()))
        };
        let stroke = |(ax, ay): (f64, f64), (bx, by): (f64, f64)| {
            self.line(&[(x + ax * r, y + ay * r), (x + bx * r, y + by * r)], colour, 2.0, &[])
        };
        match marker {
            Marker::Circle => self.put(&Circle::new((px(x), px(y)), px(r), colour.filled())),
            Marker::Square => fill(&[(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)]),
            Marker::Triangle => fill(&[(0.0, -1.2), (1.1, 0.8), (-1.1, 0.8)]),
            Marker::Down => fill(&[(0.0, 1.2), (1.1, -0.8), (-1.1, -0.8)]),
            Marker::Diamond => fill(&[(0.0, -1.3), (1.1, 0.0), (0.0, 1.3), (-1.1, 0.0)]),
            Marker::Cross => {
                stroke((-1.0, -1.0), (1.0, 1.0))?;
                stroke((-1.0, 1.0), (1.0, -1.0))
            }
            Marker::Plus => {
                stroke((-1.2, 0.0), (1.2, 0.0))?;
                stroke((0.0, -1.2), (0.0, 1.2))
            }
        }
    }

    /// Letters, centred vertically on `at`.
    pub(crate) fn text(&self, at: (f64, f64), text: &str, size: f64, anchor: Anchor) -> Result<()> {
        let text = narrow(text);
        let (name, line_per_em) = self.font.name_for(&text);
        // An SVG's letters have the size of their em, those that plotters draws that of their line.
        let font = (name, px(if self.pixels { size * line_per_em } else { size })).into_font();
        let (horizontal, font) = match anchor {
            Anchor::Left => (HPos::Left, font),
            Anchor::Middle => (HPos::Center, font),
            Anchor::Right => (HPos::Right, font),
            Anchor::Upwards => (HPos::Center, font.transform(FontTransform::Rotate270)),
        };
        let style = font.color(&INK).pos(Pos::new(horizontal, VPos::Center));
        self.put(&Text::new(text, (px(at.0), px(at.1)), style))
    }

    /// Letters of one width, from `at` to the right.
    pub(crate) fn typed(&self, at: (f64, f64), text: &str, size: f64, colour: RGBColor) -> Result<()> {
        // An SVG joins the spaces that break.
        let text = text.replace(' ', "\u{a0}");
        let (name, line_per_em) = self.font.typewriter_for(&text);
        let font = (name, px(if self.pixels { size * line_per_em } else { size })).into_font();
        let style = font.color(&colour).pos(Pos::new(HPos::Left, VPos::Center));
        self.put(&Text::new(text, (px(at.0), px(at.1)), style))
    }

    /// Returns the width of letters.
    pub(crate) fn text_width(&self, text: &str, size: f64) -> Result<f64> {
        let text = narrow(text);
        let (name, line_per_em) = self.font.name_for(&text);
        let style = (name, px(size * line_per_em)).into_text_style(&(px(WIDTH) as u32, px(WIDTH) as u32));
        let size = self.area.estimate_text_size(&text, &style);
        Ok(f64::from(size.map_err(|error| anyhow!("cannot measure letters: {error}"))?.0) / UNIT)
    }
}

/// Replaces wide brackets by narrow ones: those of Chinese are half empty, and plotters measures ink.
fn narrow(text: &str) -> String {
    text.replace('（', " (").replace('）', ")")
}

/// Returns the drawn parts of a line of dashes.
fn dashed(points: &[(f64, f64)], dashes: &[f64]) -> Vec<Vec<(f64, f64)>> {
    let (mut parts, mut part) = (Vec::new(), Vec::new());
    let (mut index, mut left) = (0, dashes[0]);
    for pair in points.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        let length = (to.0 - from.0).hypot(to.1 - from.1);
        let mut done = 0.0;
        let at = |done: f64| {
            let t = if length > 0.0 { done / length } else { 0.0 };
            (from.0 + (to.0 - from.0) * t, from.1 + (to.1 - from.1) * t)
        };
        if part.is_empty() && index % 2 == 0 {
            part.push(from);
        }
        while done + left < length {
            done += left;
            if index % 2 == 0 {
                part.push(at(done));
                parts.push(std::mem::take(&mut part));
            } else {
                part = vec![at(done)];
            }
            index = (index + 1) % dashes.len();
            left = dashes[index];
        }
        left -= length - done;
        if index % 2 == 0 {
            part.push(to);
        }
    }
    parts.push(part);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dashes_and_gaps_alternate_around_a_corner() {
        let parts = dashed(&[(0.0, 0.0), (5.0, 0.0), (5.0, 5.0)], &[4.0, 2.0]);
        assert_eq!(parts[0], [(0.0, 0.0), (4.0, 0.0)]);
        assert_eq!(parts[1], [(5.0, 1.0), (5.0, 5.0)]);
    }
}
