//! How time and loss go with the amount of data.

use crate::document::{Column, Row};
use crate::format::{NONE, seconds, significant};
use crate::lang::say;
use crate::page::Page;
use crate::results::{Results, Select};
use crate::stats::{Line, Power, line, power, summary};
use crate::text::common::{number, text};

/// R² below which a fit is no description.
const GOOD_R2: f64 = 0.9;

/// Every measured point of a variant: records, number.
pub(super) fn points(results: &Results, name: &str, metric: &str) -> Vec<(f64, f64)> {
    let cells = results.cells_of(Select::all(name));
    cells.filter_map(|cell| Some((cell.size? as f64, cell.metric(metric)?))).collect()
}

pub(super) fn time_fit(results: &Results, name: &str) -> Option<Line> {
    line(&points(results, name, "train_s"))
}

pub(super) fn loss_fit(results: &Results, name: &str) -> Option<Power> {
    power(&points(results, name, "val_loss_final"))
}

/// The fits as a table.
pub(super) fn table(page: &mut Page<'_>) {
    let (lang, results) = (page.lang, page.results);
    let columns = vec![
        Column::words(lang.pick("variant", "方案")),
        Column::number(lang.pick("fixed time", "固定耗时")),
        Column::number(lang.pick("time a record", "每条记录耗时")),
        Column::number(lang.pick("R² of time", "时间拟合 R²")),
        Column::number(lang.pick("exponent of loss", "损失幂指数")),
        Column::number(lang.pick("R² of loss", "损失拟合 R²")),
    ];
    let none = || NONE.to_owned();
    let signed = |value: f64| if value < 0.0 { format!("−{}", seconds(-value)) } else { seconds(value) };
    let row = |variant: &&crate::results::Variant| {
        let (time, loss) = (time_fit(results, &variant.name), loss_fit(results, &variant.name));
        if time.is_none() && loss.is_none() {
            return None;
        }
        let cells = [
            time.map_or_else(none, |fit| signed(fit.offset)),
            time.map_or_else(none, |fit| signed(fit.slope)),
            time.map_or_else(none, |fit| format!("{:.4}", fit.r2)),
            loss.map_or_else(none, |fit| significant(fit.exponent, 3)),
            loss.map_or_else(none, |fit| format!("{:.4}", fit.r2)),
        ];
        let mut row: Row = vec![text(variant.label(lang))];
        row.extend(cells.into_iter().map(number));
        Some(row)
    };
    let rows: Vec<_> = results.ran().iter().filter_map(row).collect();
    page.table(
        lang.pick(
            "Scaling: time = fixed time + records × time a record (all epochs); validation loss ∝ records^exponent.",
            "规模规律：时间 = 固定耗时 + 记录数 × 每条记录耗时（含全部轮次）；验证损失 ∝ 记录数^幂指数。",
        ),
        &columns,
        &rows,
    );
}

/// What the fits say.
pub(super) fn sentences(page: &Page<'_>) -> Vec<String> {
    let lang = page.lang;
    let mut sentences = time_sentences(page);
    sentences.extend(loss_sentences(page));
    if sentences.is_empty() {
        sentences.push(
            lang.pick(
                "Fewer than three sizes were measured, so no law of scaling was fitted.",
                "测量的数据规模少于三种，因此没有拟合规模规律。",
            )
            .to_owned(),
        );
    }
    sentences
}

fn time_sentences(page: &Page<'_>) -> Vec<String> {
    let (lang, results) = (page.lang, page.results);
    let (mut straight, mut other, mut negative) = (Vec::new(), Vec::new(), Vec::new());
    let mut most_spread = 0.0f64;
    for variant in results.ran() {
        let Some(fit) = time_fit(results, &variant.name) else { continue };
        let (label, each, r2) = (variant.label(lang), seconds(fit.slope.abs()), format!("{:.3}", fit.r2));
        if fit.r2 < GOOD_R2 || fit.slope <= 0.0 {
            other.push(say!(lang, "{label} (R² = {r2})", "“{label}”（R² = {r2}）"));
            continue;
        }
        straight.push(say!(lang, "{each} ({label}, R² = {r2})", "{each}（“{label}”，R² = {r2}）"));
        let spreads = results.sizes().into_iter().filter_map(|size| {
            let found = summary(&results.values(Select::sized(&variant.name, size), "train_s"))?;
            Some(found.high - found.low)
        });
        let spread = spreads.fold(0.0, f64::max);
        if fit.offset < 0.0 && spread > -fit.offset {
            negative.push(label);
            most_spread = most_spread.max(spread);
        }
    }
    let mut sentences = Vec::new();
    if !straight.is_empty() {
        let list = straight.join(lang.pick(", ", "，"));
        sentences.push(say!(
            lang,
            "Training time grows in a straight line with data; a further record costs {list}.",
            "训练时间随数据量线性增长，每增加一条记录需要 {list}。",
        ));
    }
    if !negative.is_empty() {
        let (names, spread) = (lang.names(&negative), seconds(most_spread));
        sentences.push(say!(
            lang,
            "The fixed time of {names} comes out negative, which no run can take: it is smaller than what runs on the same data differ by (up to {spread}).",
            "{names}的固定耗时拟合为负值，这在物理上不可能：其大小不及相同数据下各次运行之间的差异（最多 {spread}）。",
        ));
    }
    if !other.is_empty() {
        let list = lang.list(&other);
        sentences.push(say!(
            lang,
            "**A straight line does not describe time against data** for {list}: the machine was busy, or the runs are too short.",
            "**训练时间与数据量的关系不能用直线描述**：{list}；可能是机器有其他负载，或运行时间过短。",
        ));
    }
    sentences
}

fn loss_sentences(page: &Page<'_>) -> Vec<String> {
    let (lang, results) = (page.lang, page.results);
    let (mut falls, mut other) = (Vec::new(), Vec::new());
    for variant in results.ran() {
        let Some(fit) = loss_fit(results, &variant.name) else { continue };
        let (label, exponent, r2) =
            (variant.label(lang), significant(fit.exponent, 3), format!("{:.3}", fit.r2));
        let part = significant((1.0 - 10f64.powf(fit.exponent)) * 100.0, 2);
        if fit.r2 >= GOOD_R2 && fit.exponent < 0.0 {
            falls.push(say!(
                lang,
                "{part}\u{a0}% ({label}, exponent {exponent}, R² = {r2})",
                "{part}\u{a0}%（“{label}”，幂指数 {exponent}，R² = {r2}）",
            ));
        } else {
            other.push(say!(
                lang,
                "{label} (exponent {exponent}, R² = {r2})",
                "“{label}”（幂指数 {exponent}，R² = {r2}）"
            ));
        }
    }
    let mut sentences = Vec::new();
    if !falls.is_empty() {
        let list = falls.join(lang.pick(", ", "，"));
        sentences.push(say!(
            lang,
            "Validation loss falls as a power of the data; ten times the data lower it by {list}.",
            "验证损失随数据量按幂律下降，数据量增至十倍，损失降低 {list}。",
        ));
    }
    if !other.is_empty() {
        let list = lang.list(&other);
        sentences.push(say!(
            lang,
            "**A power law does not describe loss against data** for {list}.",
            "**损失与数据量的关系不能用幂律描述**：{list}。",
        ));
    }
    sentences
}
