//! What follows from the numbers.

use super::distance::{Distance, MEASURES, distance, gain};
use super::{checks, fits, others, peak_metric, results::has_one_seed};
use crate::format::{bytes, grouped, with_interval};
use crate::lang::say;
use crate::page::Page;
use crate::results::{Select, Variant};
use crate::stats::{Side, median, summary};
use crate::text::common::{failed_checks, label_of};

const MIB: f64 = 1024.0 * 1024.0;
/// Part of what the weights save by which the peak has to fall for the saving to arrive.
const ARRIVES: f64 = 0.7;

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
    let costs = others(results).into_iter().flat_map(|variant| {
        [Cost::Memory, Cost::Speed].into_iter().filter_map(|cost| cost_sentence(page, variant, cost))
    });
    let items: Vec<String> = costs.collect();
    page.doc.list(items);
    page.doc.heading(2, lang.pick("Quality", "质量"));
    let items: Vec<String> =
        others(results).into_iter().filter_map(|variant| quality_sentence(page, variant)).collect();
    if items.is_empty() {
        page.doc.paragraph(lang.pick("Quality was not measured.", "没有测量质量指标。"));
    }
    page.doc.list(items);
    if let Some(sentence) = chance_sentence(page) {
        page.doc.paragraph(sentence);
    }
    page.doc.heading(2, lang.pick("Scaling with data", "随数据规模的变化"));
    page.doc.list(fits::sentences(page));
}

/// What quantising saves of the weights alone, which is arithmetic, against what the process saves, which is not.
fn weights_sentence(page: &Page<'_>, variant: &Variant) -> Option<String> {
    let (lang, results) = (page.lang, page.results);
    let size = results.sizes().last().copied();
    let of = |name: &str, metric: &str| results.values(Select { variant: name, size }, metric);
    let middle = |name: &str, metric: &str| {
        let values = of(name, metric);
        (!values.is_empty()).then(|| median(&values))
    };
    let reference = results.experiment.reference.as_str();
    let saved = middle(reference, "base_bytes")? - middle(&variant.name, "base_bytes")?;
    let metric = peak_metric(results);
    let less = (middle(reference, metric)? - middle(&variant.name, metric)?) * MIB;
    let (label, saved_shown, less_shown) = (variant.label(lang), bytes(saved.max(0.0)), bytes(less.abs()));
    if gain(results, &variant.name, size, metric)?.side_of_one() == Some(Side::Around) {
        let spread = [reference, &variant.name].into_iter().filter_map(|name| summary(&of(name, metric)));
        let spread = spread.map(|found| found.high - found.low).fold(0.0, f64::max);
        let spread = bytes(spread * MIB);
        return Some(say!(
            lang,
            "{label} saves {saved_shown} of weights, but **the peak of the process does not show the saving beyond noise**: the medians are \
             {less_shown} apart, while runs of one and the same variant are up to {spread} apart.",
            "“{label}”的权重节省 {saved_shown}，但**这一节省在进程内存峰值上没有超出噪声**：两者中位数相差 {less_shown}，而同一方案各次运行之间最多就相差 {spread}。",
        ));
    }
    let once = if has_one_seed(page) { lang.pick(" (one seed)", "（单个种子）") } else { "" };
    Some(if less >= saved * ARRIVES && less > 0.0 {
        say!(
            lang,
            "{label} saves {saved_shown} of weights, and the peak of the process is lower by {less_shown}{once}: the saving arrives.",
            "“{label}”的权重节省 {saved_shown}，进程内存峰值降低 {less_shown}{once}：节省的部分确实体现在峰值上。",
        )
    } else if less > 0.0 {
        say!(
            lang,
            "{label} saves {saved_shown} of weights, but the peak of the process is lower by only {less_shown}{once}: activations, buffers and libraries are the larger part of it on a model of this size, or the peak is while loading.",
            "“{label}”的权重节省 {saved_shown}，但进程内存峰值仅降低 {less_shown}{once}：在这种规模的模型上，激活值、缓冲区和运行库占了大部分内存，或峰值出现在加载阶段。",
        )
    } else {
        say!(
            lang,
            "{label} saves {saved_shown} of weights, but **the peak of the process is not lower** (higher by {less_shown}{once}): something else than weights decides the peak on a model of this size.",
            "“{label}”的权重节省 {saved_shown}，但**进程内存峰值没有降低**（高 {less_shown}{once}）：在这种规模的模型上，峰值由权重以外的因素决定。",
        )
    })
}

/// What is paid for a variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cost {
    Memory,
    Speed,
}

/// How a cost compares with LoRA's at every size.
fn cost_sentence(page: &Page<'_>, variant: &Variant, cost: Cost) -> Option<String> {
    let (lang, results) = (page.lang, page.results);
    let metric = if cost == Cost::Memory { peak_metric(results) } else { "train_s" };
    let sizes = results.sizes();
    let found =
        sizes.iter().filter_map(|&size| Some((size, gain(results, &variant.name, Some(size), metric)?)));
    let found: Vec<(u64, Distance)> = found.collect();
    if found.is_empty() {
        return None;
    }
    let shown = found.iter().map(|(size, gain)| {
        let (size, gain) =
            (grouped(*size as f64, 0), if cost == Cost::Memory { change(*gain) } else { ratio(*gain) });
        say!(lang, "{gain} with {size} records", "{size} 条记录时 {gain}")
    });
    let shown = shown.collect::<Vec<_>>().join(lang.pick(", ", "，"));
    let at = |side: Side| -> Vec<String> {
        let sizes = found.iter().filter(|(_, gain)| gain.side_of_one() == Some(side));
        sizes.map(|(size, _)| grouped(*size as f64, 0)).collect()
    };
    let words = match cost {
        Cost::Memory => {
            [("higher", "较高"), ("no difference beyond noise", "没有超出噪声的差异"), ("lower", "较低")]
        }
        Cost::Speed => {
            [("slower", "较慢"), ("no difference beyond noise", "没有超出噪声的差异"), ("faster", "较快")]
        }
    };
    let mut verdicts = Vec::new();
    for (side, (en, zh)) in [Side::Below, Side::Around, Side::Above].into_iter().zip(words) {
        let (sizes, word) = (at(side), lang.pick(en, zh));
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
    let reference = label_of(page, &results.experiment.reference);
    let (label, verdicts) = (variant.label(lang), verdicts.join(lang.pick(", ", "，")));
    Some(match cost {
        Cost::Memory => {
            say!(
                lang,
                "{label}, peak memory against {reference}: {verdicts} ({shown}).",
                "“{label}”的内存峰值（与“{reference}”相比）：{verdicts}（{shown}）。"
            )
        }
        Cost::Speed => {
            say!(
                lang,
                "{label}, speed-up: {verdicts} ({shown}).",
                "“{label}”的加速比：{verdicts}（{shown}）。"
            )
        }
    })
}

/// "0.96 [0.82, 1.13]".
fn ratio(gain: Distance) -> String {
    match gain {
        Distance::One(one) => grouped(one, 2),
        Distance::Known(found) => with_interval(&found, |value| grouped(value, 2)),
    }
}

/// By how much less or more than LoRA: "−2.6 % [−8.0, 3.1]".
fn change(gain: Distance) -> String {
    let shown = |gain: f64| grouped((1.0 / gain - 1.0) * 100.0, 1);
    match gain {
        Distance::One(one) => format!("{}\u{a0}%", shown(one)),
        Distance::Known(found) => {
            let (mean, low, high) = (shown(found.mean), shown(found.high), shown(found.low));
            format!("{mean}\u{a0}% [{low},\u{a0}{high}]")
        }
    }
}

/// How a variant's answers compare with LoRA's on the most data, by every measure.
fn quality_sentence(page: &Page<'_>, variant: &Variant) -> Option<String> {
    let (lang, results) = (page.lang, page.results);
    let size = results.sizes().last().copied();
    // Better, worse, no difference, equal, without spread, of one seed.
    let mut kinds: [Vec<String>; 6] = Default::default();
    let mut seeds = 1;
    for measure in &MEASURES {
        let Some(found) = distance(results, &variant.name, size, measure.metric) else { continue };
        let kind = match found.side(measure.more_is_better) {
            Some(Side::Above) => 0,
            Some(Side::Below) => 1,
            Some(Side::Around) => 2,
            None if found.is_zero() => 3,
            None if found.has_no_spread() => 4,
            None => 5,
        };
        if let Distance::Known(found) = found {
            seeds = found.n;
        }
        let (what, shown) = (lang.pick(measure.en, measure.zh), found.shown(measure));
        let unit = if measure.is_part { lang.pick(" percentage points", " 个百分点") } else { "" };
        kinds[kind].push(say!(lang, "{what} ({shown}{unit})", "{what}（{shown}{unit}）"));
    }
    let [better, worse, around, equal, fixed, one] = kinds.map(|measures| lang.list(&measures));
    let parts = [
        (&better, say!(lang, "**better** in {better}", "{better}**更好**")),
        (&worse, say!(lang, "**worse** in {worse}", "{worse}**更差**")),
        (&around, say!(lang, "**no difference beyond noise** in {around}", "{around}**没有超出噪声的差异**")),
        (&equal, say!(lang, "equal with every seed in {equal}", "{equal}在所有种子下都相等")),
        (
            &fixed,
            say!(
                lang,
                "the same difference with every seed in {fixed}, which says nothing of other seeds",
                "{fixed}在所有种子下相差同样多，无法推断其他种子的情况"
            ),
        ),
        (
            &one,
            say!(
                lang,
                "differences with one seed, which cannot be told from noise: {one}",
                "单个种子下的差异（无法与噪声区分）：{one}"
            ),
        ),
    ];
    let parts: Vec<String> =
        parts.into_iter().filter(|(what, _)| !what.is_empty()).map(|part| part.1).collect();
    if parts.is_empty() {
        return None;
    }
    let (label, parts) = (variant.label(lang), parts.join(lang.pick("; ", "；")));
    let reference = label_of(page, &results.experiment.reference);
    let size = size.map_or_else(|| "–".to_owned(), |size| grouped(size as f64, 0));
    Some(if seeds == 1 {
        say!(
            lang,
            "{label} against {reference}, {size} records: {parts}.",
            "“{label}”与“{reference}”相比（{size} 条记录）：{parts}。",
        )
    } else {
        say!(
            lang,
            "{label} against {reference}, {size} records, {seeds} seeds: {parts}.",
            "“{label}”与“{reference}”相比（{size} 条记录，{seeds} 个种子）：{parts}。",
        )
    })
}

/// How many of all comparisons find a difference, and how many would by chance.
fn chance_sentence(page: &Page<'_>) -> Option<String> {
    let (lang, results) = (page.lang, page.results);
    let (mut all, mut apart) = (0, 0);
    for variant in others(results) {
        for size in results.sizes() {
            for measure in &MEASURES {
                let found = distance(results, &variant.name, Some(size), measure.metric);
                if let Some(side) = found.and_then(|found| found.side(measure.more_is_better)) {
                    all += 1;
                    apart += u32::from(side != Side::Around);
                }
            }
        }
    }
    let by_chance = grouped(f64::from(all) * 0.05, 1);
    (all > 1).then(|| {
        say!(
            lang,
            "Over all sizes, {apart} of {all} such intervals exclude 0; about {by_chance} would do so by chance if nothing differed.",
            "在所有数据规模上，共 {all} 个这样的区间，其中 {apart} 个不包含 0；若实际毫无差异，偶然也会出现约 {by_chance} 个。",
        )
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
            "{seeds} seeds: intervals are wide, and rest on differences being about normal. Of many comparisons at 95\u{a0}%, one in twenty is a false alarm where nothing differs.",
            "{seeds} 个种子：置信区间较宽，且假定差异近似服从正态分布。在 95\u{a0}% 水平上做多次比较，即使毫无差异，平均每二十次也会有一次误报。",
        ));
    }
    let sizes = results.sizes().len();
    items.push(say!(
        lang,
        "A law fitted to {sizes} sizes says nothing of much larger ones.",
        "只在 {sizes} 种数据规模上拟合的规律不能外推到大得多的规模。",
    ));
    if results.experiment.setting("max_steps").is_none() {
        items.push(say!(
            lang,
            "Every size is trained for the same number of epochs, so more data are also more steps; what the fits say of data \
             holds of both together.",
            "各规模训练的轮数相同，数据越多则步数也越多，因此拟合反映的是两者的共同作用。",
        ));
    }

    items.push(say!(
        lang,
        "Peak memory is that of the process. On small models libraries and activations are most of it, and quantised weights show less than on a model of billions of parameters.",
        "内存峰值是整个进程的峰值。小模型上运行库和激活值占大部分，量化权重的节省不如数十亿参数的模型明显。",
    ));
    page.doc.list(items);
}
