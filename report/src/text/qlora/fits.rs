//! How time and loss go with the amount of data.

use crate::document::{Column, Row};
use crate::format::{NONE, seconds, significant};
use crate::lang::say;
use crate::page::Page;
use crate::results::{Results, Select};
use crate::stats::{Line, Power, line, power};
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
            "Scaling: time = fixed + records × time a record; validation loss ∝ records^exponent.",
            "规模规律：时间 = 固定耗时 + 记录数 × 每条记录耗时；验证损失 ∝ 记录数^幂指数。",
        ),
        &columns,
        &rows,
    );
}

/// What the fits say.
pub(super) fn sentences(page: &Page<'_>) -> Vec<String> {
    let (lang, results) = (page.lang, page.results);
    let mut sentences = Vec::new();
    let mut fitted = false;
    for variant in results.ran() {
        let label = variant.label(lang);
        if let Some(fit) = time_fit(results, &variant.name) {
            fitted = true;
            let (each, r2) = (seconds(fit.slope.abs()), format!("{:.3}", fit.r2));
            sentences.push(if fit.r2 >= GOOD_R2 && fit.slope > 0.0 {
                say!(
                    lang,
                    "{label}: time grows in a straight line with data, {each} a record (R² = {r2}).",
                    "“{label}”：训练时间随数据量线性增长，每条记录 {each}（R² = {r2}）。",
                )
            } else {
                say!(
                    lang,
                    "{label}: **a straight line does not describe time against data** (R² = {r2}); the machine was busy, or the runs are too short.",
                    "“{label}”：**训练时间与数据量的关系不能用直线描述**（R² = {r2}），可能是机器有其他负载，或运行时间过短。",
                )
            });
        }
        if let Some(fit) = loss_fit(results, &variant.name) {
            fitted = true;
            let (exponent, r2) = (significant(fit.exponent, 2), format!("{:.3}", fit.r2));
            let part = significant((1.0 - 10f64.powf(fit.exponent)) * 100.0, 2);
            sentences.push(if fit.r2 >= GOOD_R2 && fit.exponent < 0.0 {
                say!(
                    lang,
                    "{label}: validation loss falls as a power of the data, exponent {exponent} (R² = {r2}): ten times the data take {part}\u{a0}% off it.",
                    "“{label}”：验证损失随数据量按幂律下降，幂指数 {exponent}（R² = {r2}），数据量增至十倍，损失降低 {part}\u{a0}%。",
                )
            } else {
                say!(
                    lang,
                    "{label}: **a power law does not describe loss against data** (exponent {exponent}, R² = {r2}).",
                    "“{label}”：**损失与数据量的关系不能用幂律描述**（幂指数 {exponent}，R² = {r2}）。",
                )
            });
        }
    }
    if !fitted {
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
