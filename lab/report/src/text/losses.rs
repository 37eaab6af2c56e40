//! Curves of training and validation loss.

use std::collections::BTreeMap;

use crate::page::Page;
use crate::plots::{Axis, Chart, Content, Draw, Scale, Series};
use crate::select::Select;

/// Points of a loss curve; more are joined to means.
const CURVE_POINTS: usize = 60;

/// Returns the chart `train-loss` or `val-loss`; nothing for another name.
pub(super) fn losses(page: &Page<'_>, name: &str) -> Option<Chart> {
    let axes = page.chart_lang;
    let (label, series) = match name {
        "train-loss" => (
            axes.pick("training loss, nats/token", "训练损失（nat/token）"),
            curves(page, "train_loss", Draw::Line),
        ),
        "val-loss" => (
            axes.pick("validation loss, nats/token", "验证损失（nat/token）"),
            curves(page, "val_loss", Draw::Points),
        ),
        _ => return None,
    };
    let x = Axis::new(axes.pick("optimiser step", "优化步数"), Scale::FromZero);
    let content = Content::Curves { x, y: Axis::new(label, Scale::Linear), series };
    Some(Chart { stem: name.to_owned(), content })
}

/// Returns the mean curve of each variant on the most data.
fn curves(page: &Page<'_>, name: &str, draw: Draw) -> Vec<Series> {
    let results = page.results;
    let size = results.sizes().last().copied();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let mut all = Vec::new();
    for (style, variant) in results.experiment.variants.iter().enumerate() {
        let mut steps: BTreeMap<u64, (f64, Vec<f64>)> = BTreeMap::new();
        for cell in results.cells_of(Select { variant: &variant.name, size }) {
            for (x, y) in cell.curve(name) {
                steps.entry(x.max(0.0).to_bits()).or_insert((x, Vec::new())).1.push(y);
            }
        }
        let points: Vec<(f64, f64)> = steps.values().map(|(x, ys)| (*x, mean(ys))).collect();
        let joined = points.len().div_ceil(CURVE_POINTS).max(1);
        let points = points.chunks(joined).map(|part| {
            let (xs, ys): (Vec<f64>, Vec<f64>) = part.iter().copied().unzip();
            (mean(&xs), mean(&ys))
        });
        let series = Series::new(page.chart_lang.label(variant), style, draw, points.collect());
        all.extend(Some(series).filter(|series| !series.points.is_empty()));
    }
    all
}
