//! Costs of a variant against LoRA's, at every size and in short.

use minijinja::{Value, context};
use results::Variant;

use super::distance::{Distance, gain};
use crate::format::{bytes, grouped, significant, with_interval};
use crate::lang::say;
use crate::page::{Page, count};
use crate::select::Select;
use crate::stats::{Side, summary};

const MIB: f64 = 1024.0 * 1024.0;
/// Part of what the weights save by which the peak has to fall for the saving to arrive.
const ARRIVES: f64 = 0.7;

/// Compares the saving of weights, which is arithmetic, with that of the process, which is not.
pub(super) fn weights(page: &Page<'_>, variant: &Variant) -> Option<Value> {
    let results = page.results;
    let metric = results.peak_metric();
    let own = Select { variant: &variant.name, size: results.sizes().last().copied() };
    let reference = Select { variant: &results.experiment.reference, ..own };
    let less_of = |metric| Some(results.median(reference, metric)? - results.median(own, metric)?);
    let (saved, less) = (less_of("base_bytes")?, less_of(metric)? * MIB);
    let around = gain(results, own, metric)?.side_of_one() == Some(Side::Around);
    let spread = || {
        let found =
            [reference, own].into_iter().filter_map(|select| summary(&results.values(select, metric)));
        bytes(found.map(|found| found.high - found.low).fold(0.0, f64::max) * MIB)
    };
    Some(context! {
        saved => bytes(saved.max(0.0)),
        less => bytes(less.abs()),
        // How far runs of one variant are apart, where the peaks differ by no more than noise.
        spread => around.then(spread),
        lower => less > 0.0,
        arrives => less > 0.0 && less >= saved * ARRIVES,
    })
}

/// The two costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paid {
    Memory,
    Time,
}

/// Compares a cost with LoRA's at every size.
pub(super) fn cost(page: &Page<'_>, variant: &Variant, paid: Paid) -> Option<Value> {
    let (lang, results) = (page.lang, page.results);
    let (metric, words) = match paid {
        Paid::Memory => (results.peak_metric(), [("higher", "较高"), ("lower", "较低")]),
        Paid::Time => ("train_s", [("slower", "较慢"), ("faster", "较快")]),
    };
    let gain_at = |size| gain(results, Select { variant: &variant.name, size: Some(size) }, metric);
    let found = results.sizes().into_iter().filter_map(|size| Some((count(size), gain_at(size)?)));
    let found: Vec<(String, Distance)> = found.collect();
    let shown = found.iter().map(|(size, gain)| {
        let gain = if paid == Paid::Memory { change(*gain) } else { ratio(*gain) };
        say!(lang, "{gain} with {size} records", "{size} 条记录时 {gain}")
    });
    let none = ("no difference beyond noise", "没有超出噪声的差异");
    let mut verdicts = Vec::new();
    for (side, (en, zh)) in [(Side::Below, words[0]), (Side::Around, none), (Side::Above, words[1])] {
        let at = found.iter().filter(|(_, gain)| gain.side_of_one() == Some(side));
        let sizes: Vec<String> = at.map(|(size, _)| size.clone()).collect();
        let word = lang.pick(en, zh);
        if sizes.len() == found.len() {
            verdicts.push(say!(lang, "**{word}** at every size", "所有规模下**{word}**"));
        } else if !sizes.is_empty() {
            let sizes = lang.list(&sizes);
            verdicts.push(say!(lang, "**{word}** with {sizes} records", "{sizes} 条记录时**{word}**"));
        }
    }
    if verdicts.is_empty() {
        verdicts.push(lang.pick("one seed, so noise cannot be told", "单个种子，无法估计噪声").to_owned());
    }
    (!found.is_empty()).then(|| context! { verdicts, shown => shown.collect::<Vec<_>>() })
}

/// Formats "0.96 [0.82, 1.13]".
fn ratio(gain: Distance) -> String {
    match gain {
        Distance::One(one) => grouped(one, 2),
        Distance::Known(found) => with_interval(&found, |value| grouped(value, 2)),
    }
}

/// Formats the difference to LoRA: "−2.6 % [−8.0, 3.1]".
fn change(gain: Distance) -> String {
    let shown = |gain: f64| grouped((1.0 / gain - 1.0) * 100.0, 1);
    match gain {
        Distance::One(one) => format!("{}\u{a0}%", shown(one)),
        Distance::Known(found) => {
            let [mean, low, high] = [found.mean, found.high, found.low].map(shown);
            format!("{mean}\u{a0}% [{low},\u{a0}{high}]")
        }
    }
}

/// Describes peak memory on the most data, in a few words.
pub(super) fn memory_in_short(page: &Page<'_>, select: Select<'_>) -> Option<String> {
    let lang = page.lang;
    let found = gain(page.results, select, page.results.peak_metric())?;
    let part = 1.0 / found.mean();
    let percent = significant((part - 1.0).abs() * 100.0, 2);
    Some(match found.side_of_one() {
        None if part < 1.0 => {
            say!(
                lang,
                "peak memory {percent}\u{a0}% lower (one seed)",
                "内存峰值低 {percent}\u{a0}%（单个种子）"
            )
        }
        None => {
            say!(
                lang,
                "peak memory {percent}\u{a0}% higher (one seed)",
                "内存峰值高 {percent}\u{a0}%（单个种子）"
            )
        }
        Some(Side::Above) => {
            say!(lang, "peak memory {percent}\u{a0}% lower", "内存峰值低 {percent}\u{a0}%")
        }
        Some(Side::Below) => {
            say!(lang, "**peak memory {percent}\u{a0}% higher**", "**内存峰值高 {percent}\u{a0}%**")
        }
        Some(Side::Around) => {
            say!(lang, "no difference in peak memory beyond noise", "内存峰值没有超出噪声的差异")
        }
    })
}

/// Describes training time on the most data, in a few words.
pub(super) fn speed_in_short(page: &Page<'_>, select: Select<'_>) -> Option<String> {
    let lang = page.lang;
    let reference = page.label(&page.results.experiment.reference);
    let found = gain(page.results, select, "train_s")?;
    let Distance::Known(interval) = found else {
        let one = grouped(found.mean(), 2);
        return Some(say!(lang, "speed-up {one} (one seed)", "加速比 {one}（单个种子）"));
    };
    let [mean, low, high] = [interval.mean, interval.low, interval.high].map(|value| grouped(value, 2));
    let shown = say!(lang, "speed-up {mean} [{low}, {high}]", "加速比 {mean} [{low}, {high}]");
    Some(match interval.side_of(1.0) {
        Side::Around => {
            say!(lang, "no difference in speed beyond noise ({shown})", "速度没有超出噪声的差异（{shown}）")
        }
        Side::Above => say!(lang, "faster than {reference}: {shown}", "比“{reference}”快：{shown}"),
        Side::Below => say!(lang, "slower than {reference}: {shown}", "比“{reference}”慢：{shown}"),
    })
}
