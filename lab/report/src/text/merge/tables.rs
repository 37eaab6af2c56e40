//! Tables, and the distribution of logit differences.

use super::facts::ratio;
use super::verdict::{Agreement, judge};
use crate::document::Column;
use crate::format::{NONE, bytes, or_none, percent, significant, spread, with_interval};
use crate::lang::say;
use crate::page::{Measured, Page};
use crate::plots::{Axis, Chart, Content, Draw, Scale, Series};
use crate::select::Select;
use crate::stats::summary;
use crate::text::common::{peak_mib, unit_of};
use crate::text::quality::{Disagreement, exact_against_reference};

/// Adds a table with a row for each variant that ran.
fn table(page: &mut Page<'_>, caption: &str, columns: &[Measured<'_>]) {
    let results = page.results;
    let rows: Vec<Select<'_>> = results.ran().into_iter().map(|variant| Select::all(&variant.name)).collect();
    page.measured(caption, &rows, columns);
}

pub(super) fn agreement(page: &mut Page<'_>, caption: &str) {
    let (lang, results) = (page.lang, page.results);
    let is_reference = |row: Select<'_>| row.variant == results.experiment.reference;
    // The reference is not compared with itself.
    let found = |row: Select<'_>| {
        if is_reference(row) { Agreement::default() } else { Agreement::of(results, row.variant) }
    };
    let verdict = |row: Select<'_>| {
        let verdict = results.variant(row.variant).map(|variant| judge(results, variant));
        verdict.map_or_else(String::new, |verdict| verdict.name(lang).to_owned())
    };
    let first = |row: Select<'_>| match (found(row).first, found(row).tokens) {
        (None, Some(tokens)) if tokens >= 1.0 => lang.pick("none", "无").to_owned(),
        (first, _) => or_none(first, |first| format!("{first:.0}")),
    };
    let number = |en, zh| Column::number(lang.pick(en, zh));
    table(
        page,
        caption,
        &[
            (number("equal tokens", "相同 token"), &|row| or_none(found(row).tokens, percent)),
            (number("largest logit difference", "logit 最大差异"), &|row| {
                or_none(found(row).logit, |value| significant(value, 2))
            }),
            (number("mean KL, nats", "平均 KL（nat）"), &|row| {
                or_none(found(row).kl, |value| significant(value, 2))
            }),
            (number("first token that differs", "首个不同 token"), &first),
            (number("weights changed", "变化的权重"), &|row| or_none(found(row).changed, percent)),
            (Column::words(lang.pick("verdict", "结论")), &verdict),
        ],
    );
}

pub(super) fn quality(page: &mut Page<'_>, caption: &str) {
    let (lang, results) = (page.lang, page.results);
    let values = |row: Select<'_>, metric| summary(&results.values(row, metric));
    let against = |row: Select<'_>, of: &dyn Fn(Disagreement) -> String| {
        let other = row.variant != results.experiment.reference;
        other.then(|| exact_against_reference(results, row)).flatten().map_or_else(|| NONE.to_owned(), of)
    };
    let number = |en, zh| Column::number(lang.pick(en, zh));
    table(
        page,
        caption,
        &[
            (number("perplexity", "困惑度"), &|row| {
                spread(values(row, "perplexity"), |x| significant(x, 4))
            }),
            (number("exact match", "精确匹配"), &|row| spread(values(row, "exact_match"), percent)),
            (Column::number("ROUGE-L"), &|row| spread(values(row, "rouge_l"), |value| format!("{value:.3}"))),
            (number("right where the adapter is not", "仅本方案正确"), &|row| {
                against(row, &|found| found.only_variant.to_string())
            }),
            (number("wrong where the adapter is right", "仅适配器正确"), &|row| {
                against(row, &|found| found.only_reference.to_string())
            }),
            (number("p, sign test", "符号检验 p"), &|row| against(row, &|found| significant(found.p, 2))),
        ],
    );
}

pub(super) fn cost(page: &mut Page<'_>, caption: &str) {
    let (lang, results) = (page.lang, page.results);
    let (load_unit, load) = unit_of(results, None, "load_s");
    let (first_unit, first) = unit_of(results, None, "first_token_s");
    let ratio_to = |row: Select<'_>| {
        let other = row.variant != results.experiment.reference;
        let found = other.then(|| ratio(results, row.variant, "decode_tokens_per_s")).flatten();
        found.map_or_else(|| NONE.to_owned(), |found| with_interval(&found, |value| format!("{value:.2}")))
    };
    let number = |en, zh| Column::number(lang.pick(en, zh));
    table(
        page,
        caption,
        &[
            (number("on disk", "磁盘"), &|row| or_none(results.median(row, "disk_bytes"), bytes)),
            (number("peak memory, MiB", "内存峰值（MiB）"), &|row| {
                peak_mib(results, row, "peak_host_mib")
            }),
            (number("on the device, MiB", "显存峰值（MiB）"), &|row| {
                peak_mib(results, row, "peak_device_mib")
            }),
            (Column::number(say!(lang, "load,\u{a0}{load_unit}", "加载（{load_unit}）")), &|row| {
                or_none(results.median(row, "load_s"), |value| significant(value * load, 3))
            }),
            (
                Column::number(say!(lang, "first token,\u{a0}{first_unit}", "首 token（{first_unit}）")),
                &|row| or_none(results.median(row, "first_token_s"), |value| significant(value * first, 3)),
            ),
            (number("decoding, tokens/s", "解码（token/s）"), &|row| {
                spread(summary(&results.values(row, "decode_tokens_per_s")), |value| significant(value, 3))
            }),
            (number("ratio to adapter [95\u{a0}%]", "与适配器之比 [95\u{a0}%]"), &ratio_to),
        ],
    );
}

/// Returns the cumulative distribution of logit differences.
pub(super) fn distribution(page: &Page<'_>) -> Chart {
    let results = page.results;
    let mut series = Vec::new();
    for (style, variant) in results.experiment.variants.iter().enumerate() {
        let cells = results.cells_of(Select::all(&variant.name));
        let mut values: Vec<f64> = cells.flat_map(|cell| cell.sample("logit_diff")).map(f64::abs).collect();
        if values.is_empty() || variant.name == results.experiment.reference {
            continue;
        }
        values.sort_by(f64::total_cmp);
        let steps = 200.min(values.len());
        let points = (0..=steps).map(|step| {
            let index = (step * (values.len() - 1)) / steps;
            (values[index], 100.0 * (index + 1) as f64 / values.len() as f64)
        });
        series.push(Series::new(page.chart_lang.label(variant), style, Draw::Line, points.collect()));
    }
    // Equal logits have no place on a logarithmic axis: they stand a decade left of the smallest that differ.
    let all = || series.iter().flat_map(|series: &Series| series.points.iter().map(|point| point.0));
    let least = all().filter(|value| *value > 0.0).fold(f64::INFINITY, f64::min);
    let floor = if least.is_finite() { least.max(1e-12) / 10.0 } else { 1e-9 };
    let most = all().fold(floor * 10.0, f64::max);
    for series in &mut series {
        series.points.iter_mut().for_each(|point| point.0 = point.0.max(floor));
        series.points.insert(0, (series.points[0].0, 0.0));
        series.points.push((most, 100.0));
    }
    let lang = page.chart_lang;
    let x = Axis::new(lang.pick("absolute difference of a logit", "logit 差异的绝对值"), Scale::Log);
    let y = Axis::new(
        lang.pick("logits that differ by at most x, %", "差异不超过横轴的比例（%）"),
        Scale::FromZero,
    );
    Chart { stem: "logit-differences".to_owned(), content: Content::Curves { x, y, series } }
}
