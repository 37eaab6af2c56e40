//! Tables, and the plots between them.

use super::distance::{Distance, MEASURES, distance, gain};
use super::{checks, fits, others, plots};
use crate::document::{Column, Row};
use crate::format::{NONE, bytes, grouped, or_none, percent, significant, spread, with_interval};
use crate::lang::say;
use crate::page::Page;
use crate::results::{Select, Variant};
use crate::stats::summary;
use crate::text::common::{checks_table, number, peak_mib, text, unit_of};

/// The phases of a run, in order.
const PHASES: [(&str, &str, &str); 5] = [
    ("phase_load_s", "load", "加载"),
    ("phase_quantise_s", "quantise", "量化"),
    ("phase_forward_s", "forward", "前向"),
    ("phase_backward_s", "backward", "反向"),
    ("phase_optimizer_s", "optimiser", "优化器"),
];

pub(crate) fn results(page: &mut Page<'_>) {
    let lang = page.lang;
    page.doc.heading(1, lang.pick("Results", "结果"));
    let found = checks::checks(page);
    checks_table(page, &found);
    page.doc.heading(2, lang.pick("Time and memory", "时间与内存"));
    cost(page);
    plots::cost(page);
    phases(page);
    page.doc.heading(2, lang.pick("Quality", "质量"));
    quality(page);
    plots::curves(page);
    distances(page);
    page.doc.heading(2, lang.pick("Scaling", "规模规律"));
    fits::table(page);
    plots::scaling(page);
}

/// Whether there is nothing that a median, a range or an interval could be of.
pub(super) fn has_one_seed(page: &Page<'_>) -> bool {
    page.results.experiment.seeds.len() == 1
}

/// A row for each size and variant.
fn rows(
    page: &Page<'_>,
    cells: impl Fn(&Variant, Option<u64>) -> Vec<String>,
    without_reference: bool,
) -> Vec<Row> {
    let results = page.results;
    let sizes: Vec<Option<u64>> = results.sizes().into_iter().map(Some).collect();
    let sizes = if sizes.is_empty() { vec![None] } else { sizes };
    let variants = if without_reference { others(results) } else { results.ran() };
    let mut rows = Vec::new();
    for size in sizes {
        for variant in &variants {
            if results.cells_of(Select { variant: &variant.name, size }).next().is_none() {
                continue;
            }
            let shown = size.map_or(NONE.to_owned(), |size| grouped(size as f64, 0));
            let mut row: Row = vec![number(shown), text(variant.label(page.lang))];
            row.extend(cells(variant, size).into_iter().map(number));
            rows.push(row);
        }
    }
    rows
}

fn heads(page: &Page<'_>, further: &[(&'static str, &'static str)]) -> Vec<Column> {
    let lang = page.lang;
    let mut columns =
        vec![Column::number(lang.pick("records", "记录数")), Column::words(lang.pick("variant", "方案"))];
    columns.extend(further.iter().map(|(en, zh)| Column::number(lang.pick(en, zh))));
    columns
}

fn shown_distance(found: Option<Distance>, show: impl Fn(f64) -> String) -> String {
    match found {
        None => NONE.to_owned(),
        Some(Distance::One(one)) => show(one),
        Some(Distance::Known(found)) => with_interval(&found, show),
    }
}

fn cost(page: &mut Page<'_>) {
    let results = page.results;
    let columns = heads(
        page,
        &[
            ("training,\u{a0}s", "训练时间（s）"),
            ("tokens/s", "token/s"),
            if has_one_seed(page) {
                ("speed-up", "加速比")
            } else {
                ("speed-up [95\u{a0}%]", "加速比 [95\u{a0}%]")
            },
            ("peak memory, MiB", "内存峰值（MiB）"),
            ("on the device, MiB", "显存峰值（MiB）"),
            ("base's weights", "基座权重"),
            ("adapter", "适配器"),
        ],
    );
    let rows = rows(
        page,
        |variant, size| {
            let values = |metric| summary(&results.values(Select { variant: &variant.name, size }, metric));
            let middle = |metric| values(metric).map(|found| found.median);
            let peak = |metric| peak_mib(results, Select { variant: &variant.name, size }, metric);
            let faster = (variant.name != results.experiment.reference)
                .then(|| gain(results, &variant.name, size, "train_s"))
                .flatten();
            vec![
                or_none(middle("train_s"), |value| significant(value, 3)),
                spread(values("tokens_per_s"), |value| significant(value, 3)),
                shown_distance(faster, |value| format!("{value:.2}")),
                peak("peak_host_mib"),
                peak("peak_device_mib"),
                or_none(middle("base_bytes"), bytes),
                or_none(middle("adapter_bytes"), bytes),
            ]
        },
        false,
    );
    let caption = if has_one_seed(page) {
        page.lang.pick("Time and memory, with one seed.", "时间与内存（单个种子）。")
    } else {
        page.lang.pick(
            "Time and memory: medians over seeds, ranges in round brackets, 95\u{a0}% confidence intervals in square ones.",
            "时间与内存：各种子的中位数，圆括号内为范围，方括号内为 95\u{a0}% 置信区间。",
        )
    };
    page.table(caption, &columns, &rows);
}

fn phases(page: &mut Page<'_>) {
    let (lang, results) = (page.lang, page.results);
    let Some(size) = results.sizes().last().copied() else { return };
    let mut columns = vec![Column::words(lang.pick("variant", "方案"))];
    let middle = |name: &str, metric: &str| {
        summary(&results.values(Select::sized(name, size), metric)).map(|found| found.median)
    };
    let units = PHASES.map(|(metric, ..)| unit_of(results, Some(size), metric));
    for ((_, en, zh), (unit, _)) in PHASES.into_iter().zip(units) {
        let head = lang.pick(en, zh);
        columns.push(Column::number(say!(lang, "{head},\u{a0}{unit}", "{head}（{unit}）")));
    }
    let row = |variant: &&Variant| {
        let mut row: Row = vec![text(variant.label(lang))];
        row.extend(PHASES.iter().zip(units).map(|((metric, ..), (_, per_second))| {
            number(or_none(middle(&variant.name, metric), |value| significant(value * per_second, 3)))
        }));
        row
    };
    let rows: Vec<_> = results.ran().iter().map(row).collect();
    let caption = if has_one_seed(page) {
        lang.pick("Where the time goes, on the most data.", "最大数据规模下各阶段耗时。")
    } else {
        lang.pick(
            "Where the time goes, on the most data (medians over seeds).",
            "最大数据规模下各阶段耗时（各种子的中位数）。",
        )
    };
    page.table(caption, &columns, &rows);
}

fn quality(page: &mut Page<'_>) {
    let results = page.results;
    let columns = heads(
        page,
        &[
            ("training loss", "训练损失"),
            ("validation loss", "验证损失"),
            ("best validation loss", "最佳验证损失"),
            ("perplexity", "困惑度"),
            ("exact match", "精确匹配"),
            ("ROUGE-L", "ROUGE-L"),
        ],
    );
    let rows = rows(
        page,
        |variant, size| {
            let values = |metric| summary(&results.values(Select { variant: &variant.name, size }, metric));
            let loss = |value: f64| format!("{value:.3}");
            let middle = |metric| or_none(values(metric).map(|found| found.median), loss);
            vec![
                middle("train_loss_final"),
                spread(values("val_loss_final"), loss),
                middle("val_loss_best"),
                or_none(values("perplexity").map(|found| found.median), |value| significant(value, 4)),
                spread(values("exact_match"), percent),
                middle("rouge_l"),
            ]
        },
        false,
    );
    let caption = if has_one_seed(page) {
        page.lang.pick("Quality, with one seed.", "质量（单个种子）。")
    } else {
        page.lang.pick(
            "Quality: medians over seeds, and in brackets the smallest and the largest.",
            "质量：各种子的中位数，括号内为最小值与最大值。",
        )
    };
    page.table(caption, &columns, &rows);
}

fn distances(page: &mut Page<'_>) {
    let (lang, results) = (page.lang, page.results);
    let mut columns = heads(page, &[]);
    columns.extend(MEASURES.iter().map(|measure| {
        let unit = if measure.is_part { lang.pick(", percentage points", "（百分点）") } else { "" };
        Column::number(format!("Δ {}{unit}", lang.pick(measure.en, measure.zh)))
    }));
    let rows = rows(
        page,
        |variant, size| {
            let shown = MEASURES.iter().map(|measure| {
                let found = distance(results, &variant.name, size, measure.metric);
                shown_distance(found, |value| measure.show(value))
            });
            shown.collect()
        },
        true,
    );
    let caption = if has_one_seed(page) {
        lang.pick(
            "Distance from LoRA with the same seed; how large the noise is, one seed does not tell.",
            "相同种子下与 LoRA 的差距；单个种子无法估计噪声的大小。",
        )
    } else {
        lang.pick(
            "Distance from LoRA: mean difference of runs with the same seed [95\u{a0}% confidence interval]. An interval around 0 is no difference beyond noise.",
            "与 LoRA 的差距：相同种子运行之差的均值 [95\u{a0}% 置信区间]。区间包含 0 表示没有超出噪声的差异。",
        )
    };
    page.table(caption, &columns, &rows);
}
