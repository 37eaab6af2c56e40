//! What follows from the numbers.

use super::speed::{ratio, speeds, times};
use super::verdict::{Agreement, Verdict, judge};
use crate::format::{bytes, or_none, percent, significant};
use crate::lang::say;
use crate::page::Page;
use crate::results::Select;
use crate::stats::{Side, median};
use crate::text::common::{Check, exact_against_reference, failed_checks, label_of};

/// Least exact match that counts as having learnt, above the base's.
const LEARNT: f64 = 0.1;
/// Where answers are free text hardly one is the reference word for word: the part of the base's perplexity that counts too.
const LEARNT_PERPLEXITY: f64 = 0.9;

/// What has to be so of any right run.
pub(super) fn checks(page: &Page<'_>) -> Vec<Check> {
    let (lang, results) = (page.lang, page.results);
    let mut checks = Vec::new();
    let reference = label_of(page, &results.experiment.reference);
    for name in ["state-dict", "hf"] {
        let Some(variant) = results.variant(name) else { continue };
        let (label, found) = (variant.label(lang), Agreement::of(results, name));
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
            holds: (verdict != Verdict::Unmeasured)
                .then_some(matches!(verdict, Verdict::Same | Verdict::Rounded)),
        });
    }
    if let Some(variant) = results.variant("legacy-script") {
        let label = variant.label(lang);
        let verdict = judge(results, variant);
        let holds = verdict == Verdict::EqualsBase;
        let found = match verdict {
            Verdict::EqualsBase => {
                lang.pick("answers and perplexity are the base's", "回答与困惑度均等于基座")
            }
            Verdict::Same | Verdict::Rounded => lang.pick(
                "it is the merged model: this PEFT still merges",
                "等于合并后的模型：该版本 PEFT 仍会合并",
            ),
            Verdict::Unmeasured => lang.pick("nothing", "无"),
            _ => lang.pick("neither the base nor the merged model", "既不等于基座，也不等于合并后的模型"),
        };
        checks.push(Check {
            what: say!(lang, "{label} leaves the base unmerged", "“{label}”未合并，等于基座"),
            found: found.to_owned(),
            holds: (verdict != Verdict::Unmeasured).then_some(holds),
        });
    }
    let middle = |name: &str, metric| {
        let values = results.values(Select::all(name), metric);
        (!values.is_empty()).then(|| median(&values))
    };
    let both = |metric| Some((middle("base", metric)?, middle(&results.experiment.reference, metric)?));
    if let (Some((base, own)), perplexities) = (both("exact_match"), both("perplexity")) {
        let (before, after) = (percent(base), percent(own));
        let mut found = say!(lang, "exact match {after}, base {before}", "精确匹配 {after}，基座 {before}");
        if let Some((base, own)) = perplexities {
            let (before, after) = (significant(base, 4), significant(own, 4));
            found += &say!(lang, "; perplexity {after}, base {before}", "；困惑度 {after}，基座 {before}");
        }
        let predicts = perplexities.is_some_and(|(base, own)| own <= base * LEARNT_PERPLEXITY);
        checks.push(Check {
            what: say!(
                lang,
                "{reference} answers or predicts the references better than the base",
                "“{reference}”回答或预测参考答案优于原始基座"
            ),
            found,
            holds: Some(own >= base + LEARNT || predicts),
        });
    }
    for variant in results.ran().into_iter().filter(|variant| variant.is_planted()) {
        let label = variant.label(lang);
        let caught = matches!(judge(results, variant), Verdict::Wrong(_) | Verdict::EqualsBase);
        let found =
            if caught { lang.pick("caught", "已检出") } else { lang.pick("not caught", "未检出") };
        checks.push(Check {
            what: say!(
                lang,
                "{label}, wrong on purpose, is seen to be wrong",
                "故意制造的错误“{label}”能被检出"
            ),
            found: found.to_owned(),
            holds: Some(caught),
        });
    }
    checks
}

pub(crate) fn discussion(page: &mut Page<'_>) {
    let lang = page.lang;
    page.doc.heading(1, lang.pick("Discussion", "讨论与总结"));
    let checks = checks(page);
    let (failing, all) = (failed_checks(&checks), checks.len());
    if failing > 0 {
        page.doc.paragraph(say!(
            lang,
            "**{failing} of {all} known truths do not hold** (table 1). What follows is to be read with that in mind.",
            "**{all} 项已知事实中有 {failing} 项不成立**（见表 1），阅读下文时请留意。",
        ));
    }
    for sentence in quality_sentences(page).into_iter().chain(speeds(page)).chain(cost_sentences(page)) {
        page.doc.paragraph(sentence);
    }
    advice(page);
}

fn quality_sentences(page: &Page<'_>) -> Vec<String> {
    let (lang, results) = (page.lang, page.results);
    let reference = label_of(page, &results.experiment.reference);
    let mut sentences = Vec::new();
    let (mut same, mut shown) = (Vec::new(), 0);
    for variant in results.ran() {
        let (name, label) = (variant.name.as_str(), variant.label(lang));
        if name == results.experiment.reference {
            continue;
        }
        let Some(found) = exact_against_reference(results, Select::all(name)) else { continue };
        let (records, more, fewer) = (found.records, found.only_variant, found.only_reference);
        let p = significant(found.p, 2);
        if more + fewer == 0 {
            same.push(label);
            shown = records;
        } else if found.p >= 0.05 {
            sentences.push(say!(
                lang,
                "{label}: **no difference in exact match beyond noise**. Of {records} records {more} are right here and wrong with \
                 {reference}, and {fewer} the other way round (p = {p}).",
                "“{label}”：**精确匹配率没有超出噪声的差异**。{records} 条记录中，{more} 条仅本方案正确，{fewer} 条仅“{reference}”正确（p = {p}）。",
            ));
        } else if fewer > more {
            sentences.push(say!(
                lang,
                "**{label} answers worse than {reference}**: of {records} records, {fewer} are right with {reference} alone and {more} with this variant alone (p = {p}).",
                "**“{label}”的回答质量低于“{reference}”**：{records} 条记录中，{fewer} 条仅后者正确，{more} 条仅前者正确（p = {p}）。",
            ));
        } else {
            sentences.push(say!(
                lang,
                "**{label} answers better than {reference}**: of {records} records, {more} are right with this variant alone and {fewer} with {reference} alone (p = {p}).",
                "**“{label}”的回答质量高于“{reference}”**：{records} 条记录中，{more} 条仅前者正确，{fewer} 条仅后者正确（p = {p}）。",
            ));
        }
    }
    if !same.is_empty() {
        let names = lang.names(&same);
        sentences.insert(
            0,
            say!(
                lang,
                "On the {shown} records whose texts were kept, {names} answered the same ones right as {reference}.",
                "在保存了文本的 {shown} 条记录上，{names}答对的记录与“{reference}”完全相同。",
            ),
        );
    }
    sentences
}

fn cost_sentences(page: &Page<'_>) -> Vec<String> {
    let (lang, results) = (page.lang, page.results);
    let mut sentences = Vec::new();
    let reference = label_of(page, &results.experiment.reference);
    for (metric, en, zh) in [
        ("peak_host_mib", "peak memory", "内存峰值"),
        ("load_s", "time to load", "加载时间"),
        ("first_token_s", "time to the first token", "首 token 时间"),
    ] {
        let what = lang.pick(en, zh);
        let mut parts = Vec::new();
        for name in ["state-dict", "hf"] {
            let Some(variant) = results.variant(name) else { continue };
            let Some(found) = ratio(results, name, metric) else { continue };
            let (label, how) = (variant.label(lang), times(&found, lang));
            parts.push(match found.side_of(1.0) {
                Side::Around => say!(
                    lang,
                    "{label} {how}, no difference beyond noise",
                    "“{label}”为 {how}，没有超出噪声的差异",
                ),
                _ => say!(lang, "{label} {how}", "“{label}”为 {how}"),
            });
        }
        if !parts.is_empty() {
            let parts = parts.join(lang.pick("; ", "；"));
            sentences.push(say!(
                lang,
                "{what}, against {reference}: {parts}.",
                "{what}（与“{reference}”相比）：{parts}。"
            ));
        }
        if metric == "first_token_s" && is_mapped(page) {
            sentences.push(lang.pick(
                "Files in the precision of computing are mapped, not read: loading them takes next to no time, and what is needed of \
                 them is read with the first token. So it is the sum of the two times that a user waits.",
                "与计算精度相同的文件只作内存映射，加载几乎不耗时，所需内容在生成首个 token 时才真正读入；因此用户的等待时间应看两者之和。",
            ).to_owned());
        }
    }
    let disk = |name: &str| {
        let values = results.values(Select::all(name), "disk_bytes");
        (!values.is_empty()).then(|| median(&values))
    };
    if let (Some(own), Some(merged)) =
        (disk(&results.experiment.reference), disk("hf").or(disk("state-dict")))
    {
        let base = disk("base");
        let (own_shown, merged_shown) = (bytes(own), bytes(merged));
        sentences.push(say!(
            lang,
            "On disk, {reference} takes {own_shown} and a merged model {merged_shown}. Every further adapter of the same base \
             adds only its own size; every further merged model is a whole model.",
            "磁盘占用：“{reference}”为 {own_shown}，合并后的模型为 {merged_shown}。同一基座每增加一个适配器只多占适配器本身的空间，而每增加一个合并模型都是一个完整模型。",
        ));
        if let (Some(base), Some(dtype)) =
            (base.filter(|base| merged > base * 1.2), results.experiment.setting("merge_dtype"))
        {
            let base = bytes(base);
            sentences.push(say!(
                lang,
                "That the merged files are larger than the base's ({base}) is no cost of merging: they were written in {dtype}, \
                 with more bits a weight than the base's. Written as the base is, a merged model takes the space of the base alone.",
                "合并后的文件大于基座文件（{base}）并非合并本身的代价，而是因为以 {dtype} 写出，每个权重的位数多于基座文件；若按基座的精度写出，合并后的模型与基座一样大。",
            ));
        }
    }
    sentences
}

/// Whether a merge loads in so little of the reference's time that its files can only have been mapped.
fn is_mapped(page: &Page<'_>) -> bool {
    let mut ratios = ["state-dict", "hf"].into_iter().filter_map(|name| ratio(page.results, name, "load_s"));
    ratios.any(|found| found.high < 0.1)
}

/// When to merge.
fn advice(page: &mut Page<'_>) {
    let (lang, results) = (page.lang, page.results);
    let good = |name: &str| {
        let variant = results.variant(name);
        variant.is_some_and(|variant| matches!(judge(results, variant), Verdict::Same | Verdict::Rounded))
    };
    if good("hf") && good("state-dict") {
        page.doc.paragraph(lang.pick(
            "Both ways of merging hold the same model. Which one to write is a question of what will read it: Hugging Face's files for \
             transformers and vLLM, the state dict for Meta's code. Unmerged, one base can serve many adapters and change between them.",
            "两种合并方式得到的是同一个模型，选择哪种格式取决于由什么程序读取：Hugging Face 格式供 transformers、vLLM 使用，\
             state_dict 供 Meta 的代码使用。不合并时，一个基座可以服务多个适配器并随时切换。",
        ));
    }
}

pub(crate) fn limits(page: &mut Page<'_>) {
    let (lang, results) = (page.lang, page.results);
    page.doc.heading(1, lang.pick("Limits", "局限"));
    let records = results.cells.iter().map(|cell| cell.texts.len()).max().unwrap_or(0);
    let repeats = results.experiment.repeats;
    let mut items = vec![
        say!(
            lang,
            "One base, one adapter and one machine. Absolute times belong to that machine; ratios carry over only to machines with a similar balance of memory bandwidth and arithmetic.",
            "只用了一个基座、一个适配器和一台机器。绝对时间只适用于该机器；比值也只能推广到访存与算力之比相近的机器。",
        ),
        say!(
            lang,
            "Equal tokens are equal under greedy decoding. Sampling from the same distribution need not draw the same tokens.",
            "“token 相同”是指贪心解码；采样解码的分布相同，但抽到的 token 不一定相同。",
        ),
    ];
    if records > 0 {
        items.push(say!(
            lang,
            "Record by record, answers were compared on the {records} records whose texts are in the results; a difference in only a few of them cannot be told from chance.",
            "逐条比较基于结果文件中保存了文本的 {records} 条记录；仅出现在个别记录中的差异无法与偶然区分。",
        ));
    }
    if repeats < 5 {
        items.push(say!(
            lang,
            "{repeats} repeated runs: the intervals of speed are wide, and assume that runs are independent.",
            "仅重复 {repeats} 次：速度的置信区间较宽，且假定各次运行相互独立。",
        ));
    }
    page.doc.list(items);
}
