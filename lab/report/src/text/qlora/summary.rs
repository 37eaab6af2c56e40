//! What a hurried reader has to know.

use super::distance::{Distance, MEASURES, distance, gain};
use super::{checks, others, peak_metric};
use crate::document::Tone;
use crate::format::{grouped, significant};
use crate::lang::{Lang, say};
use crate::page::Page;
use crate::results::{Results, Variant};
use crate::stats::Side;
use crate::text::common::label_of;

pub(crate) fn summary(page: &mut Page<'_>) {
    let lang = page.lang;
    page.doc.heading(1, lang.pick("In short", "摘要"));
    for check in checks::checks(page).into_iter().filter(|check| check.holds == Some(false)) {
        let (what, found) = (check.what, check.found);
        page.doc.callout(
            Tone::Bad,
            say!(
                lang,
                "**This does not hold, and should:** {what}. Found: {found}.",
                "**以下事实应当成立却不成立：**{what}。实测：{found}。",
            ),
        );
    }
    let size = page.results.sizes().last().copied();
    let items: Vec<String> =
        others(page.results).into_iter().map(|variant| in_short(page, variant, size)).collect();
    page.doc.list(items);
}

fn in_short(page: &Page<'_>, variant: &Variant, size: Option<u64>) -> String {
    let (lang, results) = (page.lang, page.results);
    let (label, reference) = (variant.label(lang), label_of(page, &results.experiment.reference));
    let mut parts = Vec::new();
    parts.extend(memory_sentence(results, variant, size, lang));
    parts.extend(speed_sentence(page, variant, size));
    let measure = MEASURES
        .iter()
        .find_map(|measure| Some((measure, distance(results, &variant.name, size, measure.metric)?)));
    if let Some((measure, found)) = measure {
        let what = lang.pick(measure.en, measure.zh);
        parts.push(match found.side(measure.more_is_better) {
            Some(Side::Around) => {
                say!(lang, "no difference in {what} beyond noise", "{what}没有超出噪声的差异")
            }
            Some(Side::Above) => say!(lang, "better {what}", "{what}更好"),
            Some(Side::Below) => say!(lang, "worse {what}", "{what}更差"),
            None if found.has_no_spread() => {
                say!(lang, "{what} with no spread over seeds", "各种子的{what}没有离散")
            }
            None => {
                let one = found.shown(measure);
                say!(
                    lang,
                    "{what} {one} against {reference} (one seed)",
                    "{what}与“{reference}”相差 {one}（单个种子）"
                )
            }
        });
    }
    let sep = lang.pick("; ", "；");
    let parts = if parts.is_empty() {
        lang.pick("nothing to compare", "没有可比较的数据").to_owned()
    } else {
        parts.join(sep)
    };
    let of_size = size
        .map(|size| grouped(size as f64, 0))
        .map_or(String::new(), |size| say!(lang, " ({size} records)", "（{size} 条记录）"));
    say!(lang, "**{label}**{of_size}: {parts}.", "**{label}**{of_size}：{parts}。")
}

/// How peak memory compares, on the device where there is one.
fn memory_sentence(results: &Results, variant: &Variant, size: Option<u64>, lang: Lang) -> Option<String> {
    let metric = peak_metric(results);
    let found = gain(results, &variant.name, size, metric)?;
    let (part, side) = match found {
        Distance::Known(found) => (1.0 / found.mean, found.side_of(1.0)),
        Distance::One(one) => (1.0 / one, Side::Around),
    };
    let percent = significant((part - 1.0).abs() * 100.0, 2);
    Some(match (side, matches!(found, Distance::One(_))) {
        (_, true) if part < 1.0 => {
            say!(
                lang,
                "peak memory {percent}\u{a0}% lower (one seed)",
                "内存峰值低 {percent}\u{a0}%（单个种子）"
            )
        }
        (_, true) => {
            say!(
                lang,
                "peak memory {percent}\u{a0}% higher (one seed)",
                "内存峰值高 {percent}\u{a0}%（单个种子）"
            )
        }
        (Side::Above, _) => say!(lang, "peak memory {percent}\u{a0}% lower", "内存峰值低 {percent}\u{a0}%"),
        (Side::Below, _) => {
            say!(lang, "**peak memory {percent}\u{a0}% higher**", "**内存峰值高 {percent}\u{a0}%**")
        }
        (Side::Around, _) => {
            say!(lang, "no difference in peak memory beyond noise", "内存峰值没有超出噪声的差异")
        }
    })
}

/// How training time compares.
fn speed_sentence(page: &Page<'_>, variant: &Variant, size: Option<u64>) -> Option<String> {
    let (lang, results) = (page.lang, page.results);
    let reference = label_of(page, &results.experiment.reference);
    let found = gain(results, &variant.name, size, "train_s")?;
    Some(match found {
        Distance::One(one) => {
            let one = grouped(one, 2);
            say!(lang, "speed-up {one} (one seed)", "加速比 {one}（单个种子）")
        }
        Distance::Known(found) => {
            let (mean, low, high) = (grouped(found.mean, 2), grouped(found.low, 2), grouped(found.high, 2));
            match found.side_of(1.0) {
                Side::Around => say!(
                    lang,
                    "no difference in speed beyond noise (speed-up {mean} [{low}, {high}])",
                    "速度没有超出噪声的差异（加速比 {mean} [{low}, {high}]）",
                ),
                Side::Above => say!(
                    lang,
                    "faster than {reference}: speed-up {mean} [{low}, {high}]",
                    "比“{reference}”快：加速比 {mean} [{low}, {high}]",
                ),
                Side::Below => say!(
                    lang,
                    "slower than {reference}: speed-up {mean} [{low}, {high}]",
                    "比“{reference}”慢：加速比 {mean} [{low}, {high}]",
                ),
            }
        }
    })
}
