//! What a hurried reader has to know: what holds, and what is wrong.

use super::speed::speeds;
use super::verdict::{Agreement, Fault, Verdict, judge};
use crate::document::Tone;
use crate::format::{or_none, percent, significant};
use crate::lang::{Lang, say};
use crate::page::Page;
use crate::results::{Results, Variant};

pub(crate) fn summary(page: &mut Page<'_>) {
    let (lang, results) = (page.lang, page.results);
    page.doc.heading(1, lang.pick("In short", "摘要"));
    let named = |wanted: &dyn Fn(Verdict) -> bool| -> Vec<String> {
        let found = results.ran().into_iter().filter(|variant| !variant.is_planted());
        found.filter(|variant| wanted(judge(results, variant))).map(|variant| variant.label(lang)).collect()
    };
    let reference = crate::text::common::label_of(page, &results.experiment.reference);
    let same = named(&|verdict| verdict == Verdict::Same);
    if !same.is_empty() {
        let names = lang.names(&same);
        let say_same = say!(
            lang,
            "**Equal to {reference}:** {names}. Every greedy token is the same, and the distributions differ by no more than \
             rounding in float32.",
            "**与“{reference}”一致：**{names}。所有贪心解码 token 相同，分布差异不超过 float32 舍入误差。",
        );
        page.doc.callout(Tone::Good, say_same);
    }
    let rounded = named(&|verdict| verdict == Verdict::Rounded);
    if !rounded.is_empty() {
        let names = lang.names(&rounded);
        page.doc.callout(
            Tone::Good,
            say!(
                lang,
                "**Equal to {reference} but for rounding to 16 bits:** {names}.",
                "**除 16 位舍入误差外与“{reference}”一致：**{names}。",
            ),
        );
    }
    for variant in results.ran() {
        if let Some((tone, sentence)) = callout(results, variant, lang) {
            page.doc.callout(tone, sentence);
        }
    }
    let unmeasured = named(&|verdict| verdict == Verdict::Unmeasured);
    if !unmeasured.is_empty() {
        let names = lang.names(&unmeasured);
        page.doc.callout(
            Tone::Note,
            say!(
                lang,
                "**Not compared:** {names}. No agreement with {reference} was measured.",
                "**未比较：**{names}。没有测得与“{reference}”的一致性。",
            ),
        );
    }
    let found = speeds(page);
    page.doc.list(found);
}

/// What stands out of one variant.
fn callout(results: &Results, variant: &Variant, lang: Lang) -> Option<(Tone, String)> {
    let label = variant.label(lang);
    let verdict = judge(results, variant);
    let found = Agreement::of(results, &variant.name);
    let tokens = or_none(found.tokens, percent);
    let kl = or_none(found.kl, |kl| significant(kl, 2));
    let what = match verdict {
        Verdict::EqualsBase => say!(
            lang,
            "it answers and predicts exactly as the base does: **the adapter is not in it**",
            "其回答和预测与原始基座完全相同：**适配器并未合并进去**",
        ),
        Verdict::Wrong(fault) => {
            let looks = looks_like(fault, lang);
            say!(
                lang,
                "only {tokens} of the tokens agree and the mean KL divergence is {kl} nats, which rounding does not explain; {looks}",
                "只有 {tokens} 的 token 一致，平均 KL 散度为 {kl} nat，舍入误差无法解释；{looks}",
            )
        }
        _ => String::new(),
    };
    let is_wrong = !what.is_empty();
    Some(match (variant.is_planted(), is_wrong) {
        (true, true) => (
            Tone::Bad,
            say!(
                lang,
                "**{label} (wrong on purpose) is caught:** {what}.",
                "**“{label}”是故意制造的错误合并，已被检出：**{what}。",
            ),
        ),
        (true, false) => (
            Tone::Bad,
            say!(
                lang,
                "**{label} is wrong on purpose and was NOT caught.** This comparison does not see such a fault; do not rely on what it calls equal.",
                "**“{label}”是故意制造的错误合并，但未被检出。**本次比较看不出这类错误，因此“一致”的结论不可信。",
            ),
        ),
        (false, true) if variant.name == "legacy-script" && verdict == Verdict::EqualsBase => (
            Tone::Note,
            say!(
                lang,
                "**{label} merges nothing:** {what}. Current PEFT ignores `merge_weights`; the script says nothing of it.",
                "**“{label}”没有合并任何内容：**{what}。当前版本的 PEFT 忽略 `merge_weights`，脚本也没有任何提示。",
            ),
        ),
        (false, true) => (
            Tone::Bad,
            say!(
                lang,
                "**{label} is a wrong merge; do not use it:** {what}.",
                "**“{label}”是错误的合并，请勿使用：**{what}。",
            ),
        ),
        (false, false) if verdict == Verdict::Quantised => (
            Tone::Note,
            say!(
                lang,
                "**{label} is near, not equal:** {tokens} of the tokens agree and the mean KL divergence is {kl} nats, since its \
                 base went through quantisation.",
                "**“{label}”接近但不等同：**{tokens} 的 token 一致，平均 KL 散度为 {kl} nat，因为其基座经过量化。",
            ),
        ),
        (false, false) => return None,
    })
}

/// What may be the matter.
pub(super) fn looks_like(fault: Fault, lang: Lang) -> &'static str {
    match fault {
        Fault::LeftOut => lang.pick(
            "fewer weights changed than in the other merges, so **tensors were left out**",
            "发生变化的权重少于其他合并方式，说明**有张量被遗漏**",
        ),
        Fault::Damaged => lang.pick(
            "its perplexity is above that of the base, so **weights were damaged**: rows in the wrong order, the wrong tensor, or the wrong sign",
            "其困惑度高于原始基座，说明**权重被破坏**：行顺序、张量对应或符号有误",
        ),
        Fault::Scale => lang.pick(
            "the same weights changed as in the other merges, but to other values: **look at the scale, α / r**",
            "变化的权重与其他合并方式相同，但数值不同：**请检查缩放系数 α / r**",
        ),
        Fault::Unknown => lang.pick("what went wrong cannot be told from these numbers", "仅凭这些数据无法判断错误原因"),
    }
}
