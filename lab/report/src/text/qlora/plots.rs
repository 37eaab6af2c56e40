//! Curves of training, and numbers against data.

use super::fits::{loss_fit, time_fit};
use crate::page::Page;
use crate::plots::{Axis, Chart, Content, Draw, Scale, Series};
use crate::select::Select;
use crate::stats::summary;
use crate::text::losses::losses;

/// Returns the chart of a name; nothing of a name that is no chart.
pub(super) fn chart(page: &Page<'_>, name: &str) -> Option<Chart> {
    use Scale::{FromZero, Log};
    let (results, axes) = (page.results, page.chart_lang);
    let values = |metric| move |select: Select<'_>| results.values(select, metric);
    // The range, not the interval: that of two seeds is so wide that nothing else could be seen.
    let speed_ups = |select: Select<'_>| {
        let pairs = results.seed_pairs(select, "train_s");
        let pairs = pairs
            .into_iter()
            .filter(|pair| pair.value > 0.0 && select.variant != results.experiment.reference);
        pairs.map(|pair| pair.reference / pair.value).collect()
    };
    let ((en, zh), y_scale, series) = match name {
        "tokens-per-s" => (
            ("training speed, tokens/s", "训练速度（token/s）"),
            FromZero,
            against_data(page, values("tokens_per_s")),
        ),
        "speed-up" => (("speed-up over LoRA", "相对 LoRA 的加速比"), FromZero, against_data(page, speed_ups)),
        "peak-memory" => (
            ("peak memory of the process, MiB", "进程内存峰值（MiB）"),
            FromZero,
            against_data(page, values("peak_host_mib")),
        ),
        "device-memory" => (
            ("peak memory on the device, MiB", "显存峰值（MiB）"),
            FromZero,
            against_data(page, values("peak_device_mib")),
        ),
        "train-loss" | "val-loss" => return losses(page, name),
        "time-against-data" => {
            let fit = |name: &str| time_fit(results, name).map(|fit| move |x| fit.at(x));
            (
                ("training time, s", "训练时间（s）"),
                FromZero,
                with_fits(page, against_data(page, values("train_s")), fit),
            )
        }
        "loss-against-data" => {
            let fit = |name: &str| loss_fit(results, name).map(|fit| move |x| fit.at(x));
            let series = with_fits(page, against_data(page, values("val_loss_final")), fit);
            (("validation loss, nats/token", "验证损失（nat/token）"), Log, series)
        }
        _ => return None,
    };
    let ticks = results.sizes().into_iter().map(|size| size as f64).collect();
    let scale = if name == "time-against-data" { FromZero } else { Log };
    let x = Axis { ticks, ..Axis::new(axes.pick("training records", "训练数据（条）"), scale) };
    let y = Axis::new(axes.pick(en, zh), y_scale);
    Some(Chart { stem: name.to_owned(), content: Content::Curves { x, y, series } })
}

/// Medians and ranges against data, a series for each variant.
fn against_data(page: &Page<'_>, values: impl Fn(Select<'_>) -> Vec<f64>) -> Vec<Series> {
    let results = page.results;
    let mut all = Vec::new();
    for (style, variant) in results.experiment.variants.iter().enumerate() {
        let mut series = Series::new(page.chart_lang.label(variant), style, Draw::Points, Vec::new());
        for size in results.sizes() {
            let values = values(Select { variant: &variant.name, size: Some(size) });
            let Some(found) = summary(&values) else { continue };
            series.points.push((size as f64, found.median));
            if found.n > 1 {
                series.ranges.push((size as f64, found.low, found.high));
            }
        }
        all.extend(Some(series).filter(|series| !series.points.is_empty()));
    }
    all
}

/// Adds a line from the least to the most data for each variant that has a fit.
fn with_fits<F: Fn(f64) -> f64>(
    page: &Page<'_>,
    mut series: Vec<Series>,
    fit: impl Fn(&str) -> Option<F>,
) -> Vec<Series> {
    let sizes = page.results.sizes();
    let (Some(&least), Some(&most)) = (sizes.first(), sizes.last()) else { return series };
    for (style, variant) in page.results.experiment.variants.iter().enumerate() {
        if let Some(fit) = fit(&variant.name) {
            let points = [least as f64, most as f64].map(|x| (x, fit(x))).to_vec();
            series.push(Series::new(String::new(), style, Draw::Fit, points));
        }
    }
    series
}
