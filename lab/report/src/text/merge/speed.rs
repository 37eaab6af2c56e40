//! Whether merging makes a difference of speed or memory.

use crate::format::significant;
use crate::lang::{Lang, say};
use crate::page::Page;
use crate::results::{Results, Select};
use crate::stats::{Interval, Side, interval};

/// The ratio to the reference, with its interval, of paired runs; nothing of fewer than two.
pub(super) fn ratio(results: &Results, name: &str, metric: &str) -> Option<Interval> {
    let pairs = results.run_pairs(Select::all(name), metric);
    let logs = pairs.iter().filter(|pair| pair.value > 0.0 && pair.reference > 0.0);
    let logs: Vec<f64> = logs.map(|pair| (pair.value / pair.reference).ln()).collect();
    Some(interval(&logs)?.exp())
}

/// "1.23 times [1.20, 1.26]".
pub(super) fn times(found: &Interval, lang: Lang) -> String {
    let (mean, low, high) =
        (significant(found.mean, 3), significant(found.low, 3), significant(found.high, 3));
    if low == high {
        return say!(lang, "{mean} times (the same in every run)", "{mean} 倍（每次运行相同）");
    }
    say!(lang, "{mean} times [{low}, {high}]", "{mean} 倍 [{low}, {high}]")
}

/// Sentences about the decoding speed of the right merges.
pub(super) fn speeds(page: &Page<'_>) -> Vec<String> {
    let (lang, results) = (page.lang, page.results);
    let reference = crate::text::common::label_of(page, &results.experiment.reference);
    let mut sentences = Vec::new();
    let (mut same, mut unknown) = (Vec::new(), Vec::new());
    for name in ["state-dict", "hf"] {
        let Some(variant) = results.variant(name) else { continue };
        let label = variant.label(lang);
        if results.values(Select::all(name), "decode_tokens_per_s").is_empty() {
            continue;
        }
        let Some(found) = ratio(results, name, "decode_tokens_per_s") else {
            unknown.push(label);
            continue;
        };
        let how = times(&found, lang);
        match found.side_of(1.0) {
            Side::Above => sentences.push(say!(
                lang,
                "**{label} decodes faster than {reference}**: {how} its tokens per second (95\u{a0}% confidence interval).",
                "**“{label}”的解码速度高于“{reference}”**：每秒 token 数为其 {how}（95\u{a0}% 置信区间）。",
            )),
            Side::Below => sentences.push(say!(
                lang,
                "**{label} decodes more slowly than {reference}**: {how} its tokens per second (95\u{a0}% confidence interval).",
                "**“{label}”的解码速度低于“{reference}”**：每秒 token 数为其 {how}（95\u{a0}% 置信区间）。",
            )),
            Side::Around => same.push(say!(lang, "{label} ({how})", "“{label}”（{how}）")),
        }
    }
    if !same.is_empty() {
        let names = lang.list(&same);
        sentences.push(say!(
            lang,
            "**No difference in decoding speed beyond noise** between {reference} and {names}.",
            "**解码速度没有超出噪声的差异**：“{reference}”与{names}。",
        ));
    }
    if !unknown.is_empty() {
        let names = lang.names(&unknown);
        sentences.push(say!(
            lang,
            "Speed was measured once for {names}; one run cannot be told from noise.",
            "{names}只测了一次速度，无法与噪声区分。",
        ));
    }
    sentences
}
