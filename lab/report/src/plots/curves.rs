//! Lines over two axes.

use anyhow::Result;
use plotters::prelude::DrawingBackend;

use super::axis::Ruler;
use super::canvas::{Anchor, Canvas, WIDTH};
use super::style::{GRID, INK, colour, dashes, marker};
use super::{Axis, Draw, Series};

/// Height in units.
pub(crate) const HEIGHT: f64 = 500.0;
const LETTERS: f64 = 19.0;
const TICKS: f64 = 17.0;
const RIGHT: f64 = WIDTH - 24.0;
const BOTTOM: f64 = HEIGHT - 66.0;
const LEGEND_ROW: f64 = 27.0;
/// Between points of two series at one place.
const BESIDE: f64 = 11.0;

pub(crate) fn draw<B: DrawingBackend>(
    canvas: &Canvas<'_, B>,
    x: &Axis,
    y: &Axis,
    series: &[Series],
) -> Result<()> {
    let legend = legend_places(canvas, series)?;
    let rows = legend.iter().map(|place| place.1 as usize + 1).max().unwrap_or(0);
    let top = 14.0 + rows as f64 * LEGEND_ROW;
    let xs: Vec<f64> = series.iter().flat_map(|series| series.points.iter().map(|point| point.0)).collect();
    let ys: Vec<f64> = series
        .iter()
        .flat_map(|series| {
            let ends = series.ranges.iter().flat_map(|range| [range.1, range.2]);
            series.points.iter().map(|point| point.1).chain(ends)
        })
        .collect();
    let across_y = Ruler::new(y, &ys, BOTTOM, top + 6.0);
    let mut widest = 0.0f64;
    for (_, label) in &across_y.ticks {
        widest = widest.max(canvas.text_width(label, TICKS)?);
    }
    let left = 24.0 + LETTERS + 18.0 + widest;
    let across_x = Ruler::new(x, &xs, left + 4.0, RIGHT - 14.0);
    for (place, label) in &across_y.ticks {
        canvas.line(&[(left, *place), (RIGHT, *place)], GRID, 0.5, &[])?;
        canvas.text((left - 10.0, *place), label, TICKS, Anchor::Right)?;
    }
    let mut free_from = f64::NEG_INFINITY;
    for (place, label) in &across_x.ticks {
        canvas.line(&[(*place, BOTTOM), (*place, BOTTOM + 6.0)], INK, 1.0, &[])?;
        let half = canvas.text_width(label, TICKS)? / 2.0;
        if place - half > free_from {
            canvas.text((*place, BOTTOM + 20.0), label, TICKS, Anchor::Middle)?;
            free_from = place + half + 8.0;
        }
    }
    canvas.line(&[(left, top), (left, BOTTOM), (RIGHT, BOTTOM)], INK, 1.0, &[])?;
    canvas.text((f64::midpoint(left, RIGHT), HEIGHT - 18.0), &x.label, LETTERS, Anchor::Middle)?;
    canvas.text((20.0, f64::midpoint(top, BOTTOM)), &y.label, LETTERS, Anchor::Upwards)?;
    // Points with ranges stand beside each other, so that those of several series at one place can be told apart.
    let beside = series.iter().any(|series| !series.ranges.is_empty());
    let count = series.iter().filter(|series| series.draw == Draw::Points).count() as f64;
    for (index, series) in series.iter().enumerate() {
        let aside = if beside && series.draw == Draw::Points {
            (index as f64 - (count - 1.0) / 2.0) * BESIDE
        } else {
            0.0
        };
        draw_series(canvas, &across_x, &across_y, series, aside)?;
    }
    for (series, (at, row)) in series.iter().filter(|series| series.draw != Draw::Fit).zip(legend) {
        let (at, y) = (at + 60.0, 18.0 + row * LEGEND_ROW);
        let (colour, line) = (colour(series.style), [(at, y), (at + 46.0, y)]);
        canvas.line(&line, colour, 2.0, dashes(series.style))?;
        if series.draw == Draw::Points {
            canvas.marker((at + 23.0, y), marker(series.style), colour)?;
        }
        canvas.text((at + 55.0, y), &series.label, TICKS, Anchor::Left)?;
    }
    Ok(())
}

fn draw_series<B: DrawingBackend>(
    canvas: &Canvas<'_, B>,
    across_x: &Ruler,
    across_y: &Ruler,
    series: &Series,
    aside: f64,
) -> Result<()> {
    let places: Vec<(f64, f64)> =
        series.points.iter().map(|&(x, y)| (across_x.place(x) + aside, across_y.place(y))).collect();
    let colour = colour(series.style);
    if series.draw == Draw::Fit {
        return canvas.line(&places, colour, 1.0, &[4.0, 4.0]);
    }
    canvas.line(&places, colour, 2.0, dashes(series.style))?;
    for &(x, low, high) in &series.ranges {
        let x = across_x.place(x) + aside;
        let (low, high) = (across_y.place(low), across_y.place(high));
        canvas.line(&[(x, low), (x, high)], colour, 1.5, &[])?;
        for end in [low, high] {
            canvas.line(&[(x - 5.0, end), (x + 5.0, end)], colour, 1.5, &[])?;
        }
    }
    if series.draw == Draw::Points {
        for place in places {
            canvas.marker(place, marker(series.style), colour)?;
        }
    }
    Ok(())
}

/// Returns the start and the row of each entry.
fn legend_places<B: DrawingBackend>(canvas: &Canvas<'_, B>, series: &[Series]) -> Result<Vec<(f64, f64)>> {
    let (mut at, mut row, mut places) = (0.0, 0.0, Vec::new());
    for series in series.iter().filter(|series| series.draw != Draw::Fit) {
        let width = 55.0 + canvas.text_width(&series.label, TICKS)? + 30.0;
        if at > 0.0 && 60.0 + at + width > WIDTH {
            (at, row) = (0.0, row + 1.0);
        }
        places.push((at, row));
        at += width;
    }
    Ok(places)
}
