//! What is asked, and how it is answered.

use crate::lang::say;
use crate::page::Page;
use crate::text::common::{label_of, settings_table, variants_table};

pub(crate) fn question(page: &mut Page<'_>) {
    let lang = page.lang;
    page.doc.heading(1, lang.pick("Question", "问题"));
    page.doc.paragraph(lang.pick(
        "A LoRA adapter can be used in two ways: computed beside its base at every step, or merged into the base's weights \
         once. Merging can write Hugging Face's files (`merge_and_unload`) or Meta's state dict (the manual way). **Do the \
         merged weights say the same as base and adapter, and what do they gain or lose in time, memory and disk?** The base \
         before fine-tuning is the control: what differs from the adapter as much as the base does has lost the fine-tuning.",
        "LoRA 适配器有两种使用方式：推理时与基座权重并行计算，或一次性合并进基座权重。合并结果可以写成 Hugging Face \
         格式（`merge_and_unload`），也可以写成 Meta 的 state_dict 格式（手动合并）。**合并后的权重与“基座 + \
         适配器”的输出是否一致？在时间、内存和磁盘占用上各有什么得失？**微调前的原始权重作为对照：\
         如果某种合并结果与原始权重一样偏离适配器，就说明微调成果已经丢失。",
    ));
    variants_table(page);
}

pub(crate) fn method(page: &mut Page<'_>) {
    let lang = page.lang;
    let reference = label_of(page, &page.results.experiment.reference);
    let repeats = page.results.experiment.repeats;
    page.doc.heading(1, lang.pick("Method", "方法"));
    page.doc.paragraph(say!(
        lang,
        "All variants come from one base and one adapter, and answer the same records by greedy decoding, so that a \
         difference of texts is a difference of weights. Each runs in a process of its own, as a user would run it; \
         where speed is measured, the variants take turns, so that what else the machine does falls on all of them.",
        "所有方案使用同一基座和同一适配器，以贪心解码回答相同的记录，因此文本的差异只能来自权重的差异。\
         每个方案在独立进程中按用户的实际用法运行；测速时各方案交替进行，使机器上的其他负载均摊到每个方案。",
    ));
    settings_table(page);
    page.doc.list([
        say!(
            lang,
            "**Agreement** with “{reference}”: the part of greedy tokens that are equal, the largest difference of any \
             logit, the mean Kullback–Leibler divergence of the next-token distributions, the first token that differs.",
            "**一致性**（与“{reference}”相比）：贪心解码中相同 token 的比例、logit 的最大差异、下一 token \
             分布的平均 KL 散度、第一个不同的 token。",
        ),
        say!(
            lang,
            "**Quality**: perplexity on the evaluation file, exact match and ROUGE-L against the references. Whether one \
             of two variants answers better is decided record by record (exact sign test, two-sided).",
            "**质量**：评测集上的困惑度、与参考答案的精确匹配率和 ROUGE-L。两个方案的优劣逐条记录判定（双侧精确符号检验）。",
        ),
        say!(
            lang,
            "**Cost**: time to load, to the first token and per token, peak memory, size on disk. Tables give the median \
             and, in brackets, the smallest and the largest of {repeats} repeated runs; a speed counts as different only if \
             the 95\u{a0}% confidence interval of the ratio of paired runs excludes 1.",
            "**开销**：加载时间、首 token 时间、解码速度、内存峰值、磁盘占用。表中给出 {repeats} 次重复的中位数，\
             括号内为最小值与最大值；只有配对运行之比的 95\u{a0}% 置信区间不含 1 时，才认为速度有差异。",
        ),
    ]);
}
