//! Tables.

use super::distance::{Distance, MEASURES, distance, gain};
use super::fits::{loss_fit, time_fit};
use crate::document::Column;
use crate::format::{NONE, bytes, or_none, percent, seconds, significant, spread, with_interval};
use crate::lang::say;
use crate::page::{Measured, Page};
use crate::select::{Results, Select};
use crate::stats::summary;
use crate::text::common::{peak_mib, unit_of};

/// The phases of a run, in order.
const PHASES: [(&str, &str, &str); 5] = [
    ("phase_load_s", "load", "加载"),
    ("phase_quantise_s", "quantise", "量化"),
    ("phase_forward_s", "forward", "前向"),
    ("phase_backward_s", "backward", "反向"),
    ("phase_optimizer_s", "optimiser", "优化器"),
];

/// Returns every size with every variant of which something ran.
fn by_size(results: &Results) -> Vec<Select<'_>> {
    let sizes: Vec<Option<usize>> = results.sizes().into_iter().map(Some).collect();
    let sizes = if sizes.is_empty() { vec![None] } else { sizes };
    let ran = results.ran();
    let all = sizes.into_iter().flat_map(|size| {
        ran.iter().map(move |variant| Select { variant: &variant.name, size }).collect::<Vec<_>>()
    });
    all.filter(|select| results.cells_of(*select).next().is_some()).collect()
}

fn shown_distance(found: Option<Distance>, show: impl Fn(f64) -> String) -> String {
    match found {
        None => NONE.to_owned(),
        Some(Distance::One(one)) => show(one),
        Some(Distance::Known(found)) => with_interval(&found, show),
    }
}

pub(super) fn cost(page: &mut Page<'_>, caption: &str) {
    let (lang, results) = (page.lang, page.results);
    let number = |en, zh| Column::number(lang.pick(en, zh));
    let speed_up = if results.experiment.seeds.len() == 1 {
        number("speed-up", "加速比")
    } else {
        number("speed-up [95\u{a0}%]", "加速比 [95\u{a0}%]")
    };
    let faster = |row: Select<'_>| {
        let other = row.variant != results.experiment.reference;
        let found = other.then(|| gain(results, row, "train_s")).flatten();
        shown_distance(found, |value| format!("{value:.2}"))
    };
    let columns: [Measured<'_>; 7] = [
        (number("training,\u{a0}s", "训练时间（s）"), &|row| {
            or_none(results.median(row, "train_s"), |value| significant(value, 3))
        }),
        (number("tokens/s", "token/s"), &|row| {
            spread(summary(&results.values(row, "tokens_per_s")), |value| significant(value, 3))
        }),
        (speed_up, &faster),
        (number("peak memory, MiB", "内存峰值（MiB）"), &|row| peak_mib(results, row, "peak_host_mib")),
        (number("on the device, MiB", "显存峰值（MiB）"), &|row| {
            peak_mib(results, row, "peak_device_mib")
        }),
        (number("base's weights", "基座权重"), &|row| or_none(results.median(row, "base_bytes"), bytes)),
        (number("adapter", "适配器"), &|row| or_none(results.median(row, "adapter_bytes"), bytes)),
    ];
    page.measured(caption, &by_size(results), &columns);
}

pub(super) fn phases(page: &mut Page<'_>, caption: &str) {
    let (lang, results) = (page.lang, page.results);
    let Some(size) = results.sizes().last().copied() else { return };
    let shown = PHASES.map(|(metric, ..)| {
        let (_, per_second) = unit_of(results, Some(size), metric);
        move |row: Select<'_>| {
            let found = results.median(Select { size: Some(size), ..row }, metric);
            or_none(found, |value| significant(value * per_second, 3))
        }
    });
    let columns: Vec<Measured<'_>> = PHASES
        .iter()
        .zip(&shown)
        .map(|(&(metric, en, zh), show)| {
            let (head, (unit, _)) = (lang.pick(en, zh), unit_of(results, Some(size), metric));
            let head = say!(lang, "{head},\u{a0}{unit}", "{head}（{unit}）");
            (Column::number(head), show as &dyn Fn(Select<'_>) -> String)
        })
        .collect();
    let rows: Vec<Select<'_>> = results.ran().into_iter().map(|variant| Select::all(&variant.name)).collect();
    page.measured(caption, &rows, &columns);
}

pub(super) fn quality(page: &mut Page<'_>, caption: &str) {
    let (lang, results) = (page.lang, page.results);
    let loss = |value: f64| format!("{value:.3}");
    let middle = |row: Select<'_>, metric| or_none(results.median(row, metric), loss);
    let values = |row: Select<'_>, metric| summary(&results.values(row, metric));
    let number = |en, zh| Column::number(lang.pick(en, zh));
    let columns: [Measured<'_>; 6] = [
        (number("training loss", "训练损失"), &|row| middle(row, "train_loss_final")),
        (number("validation loss", "验证损失"), &|row| spread(values(row, "val_loss_final"), loss)),
        (number("best validation loss", "最佳验证损失"), &|row| middle(row, "val_loss_best")),
        (number("perplexity", "困惑度"), &|row| {
            or_none(results.median(row, "perplexity"), |value| significant(value, 4))
        }),
        (number("exact match", "精确匹配"), &|row| spread(values(row, "exact_match"), percent)),
        (Column::number("ROUGE-L"), &|row| middle(row, "rouge_l")),
    ];
    page.measured(caption, &by_size(results), &columns);
}

pub(super) fn distances(page: &mut Page<'_>, caption: &str) {
    let (lang, results) = (page.lang, page.results);
    let shown = MEASURES.map(|measure| {
        move |row: Select<'_>| {
            shown_distance(distance(results, row, measure.metric), |value| measure.show(value))
        }
    });
    let columns = MEASURES.iter().zip(&shown).map(|(measure, show)| {
        let unit = if measure.is_part { lang.pick(", percentage points", "（百分点）") } else { "" };
        let head = format!("Δ {}{unit}", measure.name(lang));
        (Column::number(head), show as &dyn Fn(Select<'_>) -> String)
    });
    let columns: Vec<Measured<'_>> = columns.collect();
    let mut rows = by_size(results);
    rows.retain(|row| row.variant != results.experiment.reference);
    page.measured(caption, &rows, &columns);
}

pub(super) fn fits(page: &mut Page<'_>, caption: &str) {
    let (lang, results) = (page.lang, page.results);
    let (time, loss) =
        (|row: Select<'_>| time_fit(results, row.variant), |row: Select<'_>| loss_fit(results, row.variant));
    let signed = |value: f64| if value < 0.0 { format!("−{}", seconds(-value)) } else { seconds(value) };
    let r2 = |r2: f64| format!("{r2:.4}");
    let number = |en, zh| Column::number(lang.pick(en, zh));
    let columns: [Measured<'_>; 5] = [
        (number("fixed time", "固定耗时"), &|row| or_none(time(row).map(|fit| fit.offset), signed)),
        (number("time a record", "每条记录耗时"), &|row| {
            or_none(time(row).map(|fit| fit.slope), signed)
        }),
        (number("R² of time", "时间拟合 R²"), &|row| or_none(time(row).map(|fit| fit.r2), r2)),
        (number("exponent of loss", "损失幂指数"), &|row| {
            or_none(loss(row).map(|fit| fit.exponent), |value| significant(value, 3))
        }),
        (number("R² of loss", "损失拟合 R²"), &|row| or_none(loss(row).map(|fit| fit.r2), r2)),
    ];
    let mut rows: Vec<Select<'_>> =
        results.ran().into_iter().map(|variant| Select::all(&variant.name)).collect();
    rows.retain(|row| time(*row).is_some() || loss(*row).is_some());
    page.measured(caption, &rows, &columns);
}
