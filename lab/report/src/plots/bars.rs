//! Bars to the right, with every measurement on its bar.

use anyhow::Result;
use plotters::prelude::DrawingBackend;
use xtask::measure::median;

use super::axis::Ruler;
use super::canvas::{Anchor, Canvas, WIDTH};
use super::style::{GRID, INK, colour, marker};
use super::{Axis, Group, Scale};

const ROW: f64 = 44.0;
const TOP: f64 = 10.0;
const LETTERS: f64 = 19.0;

/// Returns the height in units.
pub(crate) fn height(groups: usize) -> f64 {
    TOP + ROW * groups as f64 + 72.0
}

pub(crate) fn draw<B: DrawingBackend>(canvas: &Canvas<'_, B>, label: &str, groups: &[Group]) -> Result<()> {
    let mut widest = 0.0f64;
    for group in groups {
        widest = widest.max(canvas.text_width(&group.label, LETTERS)?);
    }
    // Programs that draw an SVG set its letters a little wider or narrower than they were measured.
    let left = (widest * 1.08 + 34.0).min(WIDTH * 0.5);
    let bottom = TOP + ROW * groups.len() as f64;
    let values: Vec<f64> = groups.iter().flat_map(|group| group.values.iter().copied()).collect();
    let ruler = Ruler::new(&Axis::new(label, Scale::FromZero), &values, left, WIDTH - 120.0);
    for (place, label) in &ruler.ticks {
        canvas.line(&[(*place, TOP), (*place, bottom)], GRID, 0.5, &[])?;
        canvas.text((*place, bottom + 18.0), label, 17.0, Anchor::Middle)?;
    }
    for (index, group) in groups.iter().enumerate() {
        let y = TOP + ROW * (index as f64 + 0.5);
        canvas.text((left - 12.0, y), &group.label, LETTERS, Anchor::Right)?;
        if group.values.is_empty() {
            canvas.text((left + 8.0, y), "–", LETTERS, Anchor::Left)?;
            continue;
        }
        let middle = median(&group.values);
        let colour = colour(group.style);
        canvas.bar((left, y - 13.0), (ruler.place(middle), y + 13.0), colour, 0.35)?;
        let mut end = ruler.place(middle);
        for value in &group.values {
            canvas.marker((ruler.place(*value), y), marker(group.style), colour)?;
            end = end.max(ruler.place(*value));
        }
        canvas.line(&[(ruler.place(middle), y - 15.0), (ruler.place(middle), y + 15.0)], INK, 2.0, &[])?;
        canvas.text((end + 12.0, y), &crate::format::significant(middle, 3), 17.0, Anchor::Left)?;
    }
    canvas.line(&[(left, TOP), (left, bottom), (WIDTH - 120.0, bottom)], INK, 1.0, &[])?;
    canvas.text((f64::midpoint(left, WIDTH - 120.0), bottom + 52.0), label, LETTERS, Anchor::Middle)
}
