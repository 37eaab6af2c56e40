//! Curves of training, and numbers against data.

use std::collections::BTreeMap;

use super::{fits, others};
use crate::lang::Lang;
use crate::page::Page;
use crate::plots::{Axis, Chart, Content, Draw, Scale, Series};
use crate::results::Select;
use crate::stats::summary;

/// Points of a loss curve; more are joined to means.
const CURVE_POINTS: usize = 60;

fn records(page: &Page<'_>) -> Axis {
    let ticks = page.results.sizes().into_iter().map(|size| size as f64).collect();
    Axis { ticks, ..Axis::new(page.chart_lang.pick("training records", "训练数据（条）"), Scale::Log) }
}

fn chart(stem: &str, x: Axis, y: Axis, series: Vec<Series>) -> Chart {
    Chart { stem: stem.to_owned(), content: Content::Curves { x, y, series } }
}

/// A series of medians and ranges against data for each variant.
fn against_data(page: &Page<'_>, metric: &str) -> Vec<Series> {
    let results = page.results;
    let mut all = Vec::new();
    for (style, variant) in results.experiment.variants.iter().enumerate() {
        let (mut points, mut ranges) = (Vec::new(), Vec::new());
        for size in results.sizes() {
            let Some(found) = summary(&results.values(Select::sized(&variant.name, size), metric)) else {
                continue;
            };
            points.push((size as f64, found.median));
            if found.n > 1 {
                ranges.push((size as f64, found.low, found.high));
            }
        }
        if !points.is_empty() {
            let label = variant.label(page.chart_lang);
            all.push(Series { label, style, points, ranges, draw: Draw::Points });
        }
    }
    all
}

pub(super) fn cost(page: &mut Page<'_>) {
    let (lang, axes, one) = (page.lang, page.chart_lang, super::results::has_one_seed(page));
    let y = Axis::new(axes.pick("training speed, tokens/s", "训练速度（token/s）"), Scale::FromZero);
    let speed = chart("tokens-per-s", records(page), y, against_data(page, "tokens_per_s"));
    page.figure(
        speed,
        if one {
            lang.pick("Training speed against data.", "训练速度与数据规模。")
        } else {
            lang.pick(
                "Training speed against data: medians and ranges over seeds.",
                "训练速度与数据规模：各种子的中位数与范围。",
            )
        },
    );
    let y = Axis::new(axes.pick("speed-up over LoRA", "相对 LoRA 的加速比"), Scale::FromZero);
    let faster = chart("speed-up", records(page), y, speed_ups(page));
    page.figure(
        faster,
        if one {
            lang.pick(
                "Speed-up over LoRA; above 1 the variant is faster.",
                "相对 LoRA 的加速比，大于 1 表示该方案更快。",
            )
        } else {
            lang.pick(
                "Speed-up over LoRA: medians and ranges over seeds; above 1 the variant is faster. Confidence intervals are in the table above.",
                "相对 LoRA 的加速比：各种子的中位数与范围，大于 1 表示该方案更快。置信区间见上表。",
            )
        },
    );
    let y = Axis::new(axes.pick("peak memory of the process, MiB", "进程内存峰值（MiB）"), Scale::FromZero);
    let memory = chart("peak-memory", records(page), y, against_data(page, "peak_host_mib"));
    page.figure(memory, lang.pick("Peak memory on the host against data.", "主机内存峰值与数据规模。"));
    let y = Axis::new(axes.pick("peak memory on the device, MiB", "显存峰值（MiB）"), Scale::FromZero);
    let memory = chart("device-memory", records(page), y, against_data(page, "peak_device_mib"));
    page.figure(memory, lang.pick("Peak memory on the device against data.", "显存峰值与数据规模。"));
}

fn speed_ups(page: &Page<'_>) -> Vec<Series> {
    let results = page.results;
    let mut all = Vec::new();
    for variant in others(results) {
        let style =
            results.experiment.variants.iter().position(|other| other.name == variant.name).unwrap_or(0);
        let (mut points, mut ranges) = (Vec::new(), Vec::new());
        for size in results.sizes() {
            let x = size as f64;
            // The range, not the interval: that of two seeds is so wide that nothing else could be seen.
            let pairs = results.seed_pairs(Select::sized(&variant.name, size), "train_s");
            let times = pairs.iter().filter(|pair| pair.value > 0.0).map(|pair| pair.reference / pair.value);
            let Some(found) = summary(&times.collect::<Vec<_>>()) else { continue };
            points.push((x, found.median));
            if found.n > 1 {
                ranges.push((x, found.low, found.high));
            }
        }
        if !points.is_empty() {
            all.push(Series {
                label: variant.label(page.chart_lang),
                style,
                points,
                ranges,
                draw: Draw::Points,
            });
        }
    }
    all
}

pub(super) fn curves(page: &mut Page<'_>) {
    let (lang, axes, one) = (page.lang, page.chart_lang, super::results::has_one_seed(page));
    let step = || Axis::new(axes.pick("optimiser step", "优化步数"), Scale::FromZero);
    let y = Axis::new(axes.pick("training loss, nats/token", "训练损失（nat/token）"), Scale::Linear);
    let training = chart("train-loss", step(), y, losses(page, "train_loss", Draw::Line));
    page.figure(
        training,
        if one {
            lang.pick(
                "Training loss on the most data; neighbouring steps are averaged where there are many.",
                "最大数据规模下的训练损失；步数较多时相邻步取平均。",
            )
        } else {
            lang.pick(
                "Training loss on the most data: mean over seeds; neighbouring steps are averaged where there are many.",
                "最大数据规模下的训练损失：各种子的均值；步数较多时相邻步取平均。",
            )
        },
    );
    let y = Axis::new(axes.pick("validation loss, nats/token", "验证损失（nat/token）"), Scale::Linear);
    let validation = chart("val-loss", step(), y, losses(page, "val_loss", Draw::Points));
    page.figure(
        validation,
        if one {
            lang.pick("Validation loss on the most data.", "最大数据规模下的验证损失。")
        } else {
            lang.pick(
                "Validation loss on the most data: mean over seeds.",
                "最大数据规模下的验证损失：各种子的均值。",
            )
        },
    );
}

/// The mean curve of each variant on the most data.
fn losses(page: &Page<'_>, name: &str, draw: Draw) -> Vec<Series> {
    let results = page.results;
    let size = results.sizes().last().copied();
    let mut all = Vec::new();
    for (style, variant) in results.experiment.variants.iter().enumerate() {
        let mut steps: BTreeMap<u64, (f64, Vec<f64>)> = BTreeMap::new();
        for cell in results.cells_of(Select { variant: &variant.name, size }) {
            for (x, y) in cell.curve(name) {
                steps.entry(x.max(0.0).to_bits()).or_insert((x, Vec::new())).1.push(y);
            }
        }
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let points: Vec<(f64, f64)> = steps.values().map(|(x, ys)| (*x, mean(ys))).collect();
        let joined = points.len().div_ceil(CURVE_POINTS).max(1);
        let points = points.chunks(joined).map(|part| {
            let xs: Vec<f64> = part.iter().map(|point| point.0).collect();
            let ys: Vec<f64> = part.iter().map(|point| point.1).collect();
            (mean(&xs), mean(&ys))
        });
        let points: Vec<(f64, f64)> = points.collect();
        if !points.is_empty() {
            all.push(Series {
                label: variant.label(page.chart_lang),
                style,
                points,
                ranges: Vec::new(),
                draw,
            });
        }
    }
    all
}

pub(super) fn scaling(page: &mut Page<'_>) {
    let (lang, axes): (Lang, Lang) = (page.lang, page.chart_lang);
    let results = page.results;
    let sizes = results.sizes();
    let (Some(&least), Some(&most)) = (sizes.first(), sizes.last()) else { return };
    let mut x = records(page);
    x.scale = Scale::FromZero;
    let y = Axis::new(axes.pick("training time, s", "训练时间（s）"), Scale::FromZero);
    let mut series = against_data(page, "train_s");
    for (style, variant) in results.experiment.variants.iter().enumerate() {
        if let Some(fit) = fits::time_fit(results, &variant.name) {
            let points = [least as f64, most as f64].map(|x| (x, fit.at(x))).to_vec();
            series.push(Series { label: String::new(), style, points, ranges: Vec::new(), draw: Draw::Fit });
        }
    }
    let time = chart("time-against-data", x, y, series);
    page.figure(
        time,
        lang.pick(
            "Training time against data, with fitted straight lines (thin).",
            "训练时间与数据规模，细线为线性拟合。",
        ),
    );
    let y = Axis::new(axes.pick("validation loss, nats/token", "验证损失（nat/token）"), Scale::Log);
    let mut series = against_data(page, "val_loss_final");
    for (style, variant) in results.experiment.variants.iter().enumerate() {
        if let Some(fit) = fits::loss_fit(results, &variant.name) {
            let points = [least as f64, most as f64].map(|x| (x, fit.at(x))).to_vec();
            series.push(Series { label: String::new(), style, points, ranges: Vec::new(), draw: Draw::Fit });
        }
    }
    let loss = chart("loss-against-data", records(page), y, series);
    page.figure(
        loss,
        lang.pick(
            "Validation loss against data, both axes logarithmic, with fitted power laws (thin).",
            "验证损失与数据规模（双对数坐标），细线为幂律拟合。",
        ),
    );
}
