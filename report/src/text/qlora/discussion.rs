//! What follows from the numbers.

use super::distance::{Distance, MEASURES, Measure, distance};
use super::summary::{memory_sentence, speed_sentence};
use super::{checks, fits, others};
use crate::format::bytes;
use crate::lang::say;
use crate::page::Page;
use crate::results::{Select, Variant};
use crate::stats::{Side, median};
use crate::text::common::{failed_checks, label_of};

pub(crate) fn discussion(page: &mut Page<'_>) {
    let (lang, results) = (page.lang, page.results);
    page.doc.heading(1, lang.pick("Discussion", "讨论与总结"));
    let found = checks::checks(page);
    let (failing, all) = (failed_checks(&found), found.len());
    if failing > 0 {
        page.doc.paragraph(say!(
            lang,
            "**{failing} of {all} known truths do not hold** (table 1). What follows is to be read with that in mind.",
            "**{all} 项已知事实中有 {failing} 项不成立**（见表 1），阅读下文时请留意。",
        ));
    }
    page.doc.heading(2, lang.pick("Memory and speed", "内存与速度"));
    for variant in others(results) {
        if let Some(sentence) = weights_sentence(page, variant) {
            page.doc.paragraph(sentence);
        }
    }
    let mut items = Vec::new();
    let sizes: Vec<Option<u64>> = results.sizes().into_iter().map(Some).collect();
    for variant in others(results) {
        for &size in [sizes.first(), sizes.last().filter(|_| sizes.len() > 1)].into_iter().flatten() {
            let mut parts = Vec::new();
            parts.extend(memory_sentence(results, variant, size, lang));
            parts.extend(speed_sentence(page, variant, size));
            if parts.is_empty() {
                continue;
            }
            let (label, parts) = (variant.label(lang), parts.join(lang.pick("; ", "；")));
            let size = size.unwrap_or_default();
            items.push(say!(lang, "{label}, {size} records: {parts}.", "{label}，{size} 条记录：{parts}。"));
        }
    }
    page.doc.list(items);
    page.doc.heading(2, lang.pick("Quality", "质量"));
    let mut items = Vec::new();
    for variant in others(results) {
        items.extend(MEASURES.iter().filter_map(|measure| quality_sentence(page, variant, measure)));
    }
    if items.is_empty() {
        page.doc.paragraph(lang.pick("Quality was not measured.", "没有测量质量指标。"));
    }
    page.doc.list(items);
    page.doc.heading(2, lang.pick("Scaling with data", "随数据规模的变化"));
    page.doc.list(fits::sentences(page));
}

/// What quantising saves of the weights alone, which is arithmetic, against what the process saves, which is not.
fn weights_sentence(page: &Page<'_>, variant: &Variant) -> Option<String> {
    let (lang, results) = (page.lang, page.results);
    let size = results.sizes().last().copied();
    let middle = |name: &str, metric: &str| {
        let values = results.values(Select { variant: name, size }, metric);
        (!values.is_empty()).then(|| median(&values))
    };
    let reference = results.experiment.reference.as_str();
    let saved = middle(reference, "base_bytes")? - middle(&variant.name, "base_bytes")?;
    let metric = if results.has("peak_device_mib") { "peak_device_mib" } else { "peak_host_mib" };
    let less = (middle(reference, metric)? - middle(&variant.name, metric)?) * 1024.0 * 1024.0;
    let (label, saved_shown, less_shown) = (variant.label(lang), bytes(saved.max(0.0)), bytes(less.abs()));
    Some(if less >= saved * 0.7 && less > 0.0 {
        say!(
            lang,
            "{label} saves {saved_shown} of weights, and the peak of the process is lower by {less_shown}: the saving arrives.",
            "“{label}”的权重节省 {saved_shown}，进程内存峰值降低 {less_shown}：节省的部分确实体现在峰值上。",
        )
    } else if less > 0.0 {
        say!(
            lang,
            "{label} saves {saved_shown} of weights, but the peak of the process is lower by {less_shown} only: activations, buffers and libraries are the larger part of it on a model of this size, or the peak is while loading.",
            "“{label}”的权重节省 {saved_shown}，但进程内存峰值仅降低 {less_shown}：在这种规模的模型上，激活值、缓冲区和运行库占了大部分内存，或峰值出现在加载阶段。",
        )
    } else {
        say!(
            lang,
            "{label} saves {saved_shown} of weights, but **the peak of the process is not lower** (higher by {less_shown}): something else than weights decides the peak on a model of this size.",
            "“{label}”的权重节省 {saved_shown}，但**进程内存峰值没有降低**（高 {less_shown}）：在这种规模的模型上，峰值由权重以外的因素决定。",
        )
    })
}

fn quality_sentence(page: &Page<'_>, variant: &Variant, measure: &Measure) -> Option<String> {
    let (lang, results) = (page.lang, page.results);
    let size = results.sizes().last().copied();
    let found = distance(results, &variant.name, size, measure.metric)?;
    let (label, what) = (variant.label(lang), lang.pick(measure.en, measure.zh));
    let reference = label_of(page, &results.experiment.reference);
    let unit = if measure.is_part { lang.pick(" percentage points", " 个百分点") } else { "" };
    Some(match found {
        Distance::One(one) => {
            let one = measure.show(one);
            say!(
                lang,
                "{label}, {what}: differs from {reference} by {one}{unit} with one seed, which cannot be told from noise.",
                "“{label}”的{what}：单个种子下与“{reference}”相差 {one}{unit}，无法与噪声区分。",
            )
        }
        Distance::Known(found) if Distance::Known(found).has_no_spread() => {
            let (mean, n) = (measure.show(found.mean), found.n);
            if found.mean == 0.0 {
                say!(
                    lang,
                    "{label}, {what}: equal to that of {reference} with each of {n} seeds.",
                    "“{label}”的{what}：在全部 {n} 个种子下都与“{reference}”相等。",
                )
            } else {
                say!(
                    lang,
                    "{label}, {what}: differs from {reference} by {mean}{unit} with each of {n} seeds; without any spread nothing can be said of other seeds.",
                    "“{label}”的{what}：在全部 {n} 个种子下都与“{reference}”相差 {mean}{unit}；由于没有离散，无法推断其他种子的情况。",
                )
            }
        }
        Distance::Known(found) => {
            let (mean, low, high) =
                (measure.show(found.mean), measure.show(found.low), measure.show(found.high));
            let n = found.n;
            match Distance::Known(found).side(measure.more_is_better) {
                Some(Side::Above) => say!(
                    lang,
                    "{label}, {what}: **better than {reference}** by {mean}{unit} [{low}, {high}] ({n} seeds).",
                    "“{label}”的{what}：**优于“{reference}”**，相差 {mean}{unit} [{low}, {high}]（{n} 个种子）。",
                ),
                Some(Side::Below) => say!(
                    lang,
                    "{label}, {what}: **worse than {reference}** by {mean}{unit} [{low}, {high}] ({n} seeds).",
                    "“{label}”的{what}：**劣于“{reference}”**，相差 {mean}{unit} [{low}, {high}]（{n} 个种子）。",
                ),
                _ => say!(
                    lang,
                    "{label}, {what}: **no difference beyond noise** from {reference}; the mean difference is {mean}{unit}, and with 95\u{a0}% confidence it lies in [{low}, {high}] ({n} seeds).",
                    "“{label}”的{what}：与“{reference}”**没有超出噪声的差异**；平均相差 {mean}{unit}，95\u{a0}% 置信区间为 [{low}, {high}]（{n} 个种子）。",
                ),
            }
        }
    })
}

pub(crate) fn limits(page: &mut Page<'_>) {
    let (lang, results) = (page.lang, page.results);
    page.doc.heading(1, lang.pick("Limits", "局限"));
    let seeds = results.experiment.seeds.len();
    let mut items = vec![say!(
        lang,
        "One base, one data set and one machine. Speed-ups depend on how fast the machine dequantises; on a GPU they differ from those on a CPU.",
        "只用了一个基座、一个数据集和一台机器。加速比取决于机器的反量化速度，GPU 与 CPU 的结果会不同。",
    )];
    if seeds == 1 {
        items.push(
            lang.pick(
                "One seed: how large the noise is cannot be told.",
                "只有一个种子：无法估计噪声的大小。",
            )
            .to_owned(),
        );
    } else if seeds < 5 {
        items.push(say!(
            lang,
            "{seeds} seeds: intervals are wide, and rest on differences being about normal. Many comparisons at 95\u{a0}% give a false alarm in one of twenty.",
            "{seeds} 个种子：置信区间较宽，且假定差异近似服从正态分布。在 95\u{a0}% 水平上做多次比较，平均每二十次会有一次误报。",
        ));
    }
    items.push(say!(
        lang,
        "A law fitted to these sizes says nothing of much larger ones.",
        "在这些规模上拟合的规律不能外推到大得多的规模。",
    ));
    items.push(say!(
        lang,
        "Peak memory is that of the process. On small models libraries and activations are most of it, and quantised weights show less than on a model of billions of parameters.",
        "内存峰值是整个进程的峰值。小模型上运行库和激活值占大部分，量化权重的节省不如数十亿参数的模型明显。",
    ));
    page.doc.list(items);
}
