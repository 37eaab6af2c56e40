//! Facts of the template.

use minijinja::{Value, context};
use results::Variant;

use super::verdict::{Agreement, Verdict, judge};
use crate::format::{bytes, or_none, percent, significant};
use crate::lang::{Lang, say};
use crate::page::Page;
use crate::select::{Results, Select};
use crate::stats::{Interval, Side, interval};
use crate::text::common::{self, Check};
use crate::text::quality::exact_against_reference;

/// Least exact match above the base's that counts as having learnt.
const LEARNT: f64 = 0.1;
/// Part of the base's perplexity that counts as having learnt: hardly a free text equals the reference word for word.
const LEARNT_PERPLEXITY: f64 = 0.9;
/// The variants that are merges done right.
const MERGES: [&str; 2] = ["state-dict", "hf"];

/// Returns what the template says.
pub(super) fn facts(page: &Page<'_>, checks: &[Check]) -> Value {
    let (lang, results) = (page.lang, page.results);
    let named = |wanted: Verdict| -> Vec<String> {
        let found = results.ran().into_iter().filter(|variant| !variant.is_planted());
        found.filter(|variant| judge(results, variant) == wanted).map(|variant| lang.label(variant)).collect()
    };
    let good = |name: &str| {
        let verdict = results.variant(name).map(|variant| judge(results, variant));
        matches!(verdict, Some(Verdict::Same | Verdict::Rounded))
    };
    context! {
        same => named(Verdict::Same),
        rounded => named(Verdict::Rounded),
        unmeasured => named(Verdict::Unmeasured),
        ran => results.ran().into_iter().map(|variant| ran(results, variant, lang)).collect::<Value>(),
        speed => speed(results, lang),
        legacy => results.variant("legacy-script").map(|variant| lang.label(variant)),
        nf4_merge => results.variant("nf4-merge").is_some(),
        quality => quality(results, lang),
        costs => costs(results, lang),
        // So little of the reference's time that the files can only have been mapped.
        mapped => MERGES.iter().any(|name| ratio(results, name, "load_s").is_some_and(|found| found.high < 0.1)),
        disk => disk(results),
        both_good => MERGES.into_iter().all(good),
        // Records with texts.
        records => results.cells.iter().map(|cell| cell.texts.len()).max(),
        ..common::facts(page, checks)
    }
}

fn ran(results: &Results, variant: &Variant, lang: Lang) -> Value {
    let (verdict, found) = (judge(results, variant), Agreement::of(results, &variant.name));
    context! {
        name => variant.name,
        label => lang.label(variant),
        planted => variant.is_planted(),
        wrong => verdict.is_wrong(),
        equals_base => verdict == Verdict::EqualsBase,
        quantised => verdict == Verdict::Quantised,
        fault => if let Verdict::Wrong(fault) = verdict { Some(fault) } else { None },
        tokens => or_none(found.tokens, percent),
        kl => or_none(found.kl, |kl| significant(kl, 2)),
    }
}

/// Returns the decoding speed of the merges against the reference, and against controls that do equal work: the base does what a
/// merged model does, out of the reference's own files; so the reference's loss against it is the adapter's work, and a merged
/// model's gain over it is its files'.
fn speed(results: &Results, lang: Lang) -> Value {
    const METRIC: &str = "decode_tokens_per_s";
    let against = |name: &str, other: &str| {
        let found = ratio_to(results, name, other, METRIC)?;
        let side = match found.side_of(1.0) {
            Side::Below => "below",
            Side::Around => "around",
            Side::Above => "above",
        };
        Some(context! { side, times => times(&found, lang) })
    };
    let reference = results.experiment.reference.as_str();
    let (mut merges, mut once) = (Vec::new(), Vec::new());
    for variant in MERGES.into_iter().filter_map(|name| results.variant(name)) {
        let (name, label) = (variant.name.as_str(), lang.label(variant));
        match against(name, reference) {
            Some(found) => merges.push(context! { label, found, files => against(name, "base") }),
            None if results.values(Select::all(name), METRIC).is_empty() => {}
            None => once.push(label),
        }
    }
    let base = results.variant("base").map(|variant| lang.label(variant));
    // The base's weights, in files of another form.
    let copy =
        results.variant("legacy-script").filter(|variant| judge(results, variant) == Verdict::EqualsBase);
    let copy = copy.and_then(|variant| {
        Some(context! { label => lang.label(variant), found => against(&variant.name, "base")? })
    });
    context! { merges, once, base, work => against("base", reference), copy }
}

/// Returns the exact matches, record by record, against the reference.
fn quality(results: &Results, lang: Lang) -> Value {
    let (mut same, mut shown, mut differs) = (Vec::new(), 0, Vec::new());
    for variant in results.others() {
        let Some(found) = exact_against_reference(results, Select::all(&variant.name)) else { continue };
        let (label, records) = (lang.label(variant), found.records);
        let (more, fewer) = (found.only_variant, found.only_reference);
        if more + fewer == 0 {
            same.push(label);
            shown = records;
        } else {
            let (by_chance, p) = (found.p >= 0.05, significant(found.p, 2));
            differs.push(context! { label, by_chance, records, more, fewer, p });
        }
    }
    context! { same, shown, differs }
}

fn costs(results: &Results, lang: Lang) -> Value {
    let costs = [
        ("peak_host_mib", "peak memory", "内存峰值"),
        ("load_s", "time to load", "加载时间"),
        ("first_token_s", "time to the first token", "首 token 时间"),
    ];
    let cost = |(metric, en, zh)| {
        let part = |name: &str| {
            let found = ratio(results, name, metric)?;
            let (label, how) = (lang.label(results.variant(name)?), times(&found, lang));
            let same = say!(lang, ", no difference beyond noise", "，没有超出噪声的差异");
            let same = if found.side_of(1.0) == Side::Around { same } else { String::new() };
            Some(say!(lang, "{label} {how}{same}", "“{label}”为 {how}{same}"))
        };
        context! { what => lang.pick(en, zh), parts => MERGES.into_iter().filter_map(part).collect::<Vec<_>>() }
    };
    costs.into_iter().map(cost).collect()
}

/// Returns the sizes on disk: of the base only where merged files are larger because of their precision.
fn disk(results: &Results) -> Option<Value> {
    let bytes_of = |name: &str| results.median(Select::all(name), "disk_bytes");
    let merged = bytes_of("hf").or(bytes_of("state-dict"))?;
    let dtype = results.experiment.setting("merge_dtype");
    let base = bytes_of("base").filter(|base| merged > base * 1.2 && dtype.is_some()).map(bytes);
    let reference = bytes(bytes_of(&results.experiment.reference)?);
    Some(context! { reference, merged => bytes(merged), base, dtype })
}

/// Returns the ratio to the reference, with its interval, of paired runs; nothing of fewer than two.
pub(super) fn ratio(results: &Results, name: &str, metric: &str) -> Option<Interval> {
    ratio_to(results, name, &results.experiment.reference, metric)
}

/// Returns the ratio to another variant, likewise.
fn ratio_to(results: &Results, name: &str, other: &str, metric: &str) -> Option<Interval> {
    let pairs = results.run_pairs(Select::all(name), other, metric);
    let logs = pairs.iter().filter(|pair| pair.value > 0.0 && pair.reference > 0.0);
    let logs: Vec<f64> = logs.map(|pair| (pair.value / pair.reference).ln()).collect();
    Some(interval(&logs)?.exp())
}

/// Formats "1.23 times [1.20, 1.26]".
fn times(found: &Interval, lang: Lang) -> String {
    let [mean, low, high] = [found.mean, found.low, found.high].map(|value| significant(value, 3));
    if low == high {
        return say!(lang, "{mean} times (the same in every run)", "{mean} 倍（每次运行相同）");
    }
    say!(lang, "{mean} times [{low}, {high}]", "{mean} 倍 [{low}, {high}]")
}

/// Checks that hold for every correct run.
pub(super) fn checks(page: &Page<'_>) -> Vec<Check> {
    let (lang, results) = (page.lang, page.results);
    let reference = page.label(&results.experiment.reference);
    let mut checks = Vec::new();
    for variant in MERGES.into_iter().filter_map(|name| results.variant(name)) {
        let (label, found) = (lang.label(variant), Agreement::of(results, &variant.name));
        let (tokens, kl) = (or_none(found.tokens, percent), or_none(found.kl, |kl| significant(kl, 2)));
        let verdict = judge(results, variant);
        checks.push(Check {
            what: say!(
                lang,
                "{label} gives the same answers as {reference}",
                "“{label}”与“{reference}”输出一致"
            ),
            found: say!(
                lang,
                "{tokens} of tokens equal, mean KL {kl} nats",
                "{tokens} 的 token 相同，平均 KL {kl} nat"
            ),
            holds: verdict.is_measured(matches!(verdict, Verdict::Same | Verdict::Rounded)),
        });
    }
    if let Some(variant) = results.variant("legacy-script") {
        let (label, verdict) = (lang.label(variant), judge(results, variant));
        let (en, zh) = match verdict {
            Verdict::EqualsBase => ("answers and perplexity are the base's", "回答与困惑度均等于基座"),
            Verdict::Same | Verdict::Rounded => {
                ("it is the merged model: this PEFT still merges", "等于合并后的模型：该版本 PEFT 仍会合并")
            }
            Verdict::Unmeasured => ("nothing", "无"),
            _ => ("neither the base nor the merged model", "既不等于基座，也不等于合并后的模型"),
        };
        checks.push(Check {
            what: say!(lang, "{label} leaves the base unmerged", "“{label}”未合并，等于基座"),
            found: lang.pick(en, zh).to_owned(),
            holds: verdict.is_measured(verdict == Verdict::EqualsBase),
        });
    }
    checks.extend(learnt(page, &reference));
    for variant in results.ran().into_iter().filter(|variant| variant.is_planted()) {
        let (label, caught) = (lang.label(variant), judge(results, variant).is_wrong());
        let (en, zh) = if caught { ("caught", "已检出") } else { ("not caught", "未检出") };
        checks.push(Check {
            what: say!(
                lang,
                "{label}, wrong on purpose, is seen to be wrong",
                "故意制造的错误“{label}”能被检出"
            ),
            found: lang.pick(en, zh).to_owned(),
            holds: Some(caught),
        });
    }
    checks
}

/// Checks that the reference is better than the base.
fn learnt(page: &Page<'_>, reference: &str) -> Option<Check> {
    let (lang, results) = (page.lang, page.results);
    let middle = |name: &str, metric| results.median(Select::all(name), metric);
    let both = |metric| Some((middle("base", metric)?, middle(&results.experiment.reference, metric)?));
    let ((base, own), perplexities) = (both("exact_match")?, both("perplexity"));
    let (before, after) = (percent(base), percent(own));
    let mut found = say!(lang, "exact match {after}, base {before}", "精确匹配 {after}，基座 {before}");
    if let Some((base, own)) = perplexities {
        let (before, after) = (significant(base, 4), significant(own, 4));
        found += &say!(lang, "; perplexity {after}, base {before}", "；困惑度 {after}，基座 {before}");
    }
    let predicts = perplexities.is_some_and(|(base, own)| own <= base * LEARNT_PERPLEXITY);
    Some(Check {
        what: say!(
            lang,
            "{reference} answers or predicts the references better than the base",
            "“{reference}”回答或预测参考答案优于原始基座"
        ),
        found,
        holds: Some(own >= base + LEARNT || predicts),
    })
}
