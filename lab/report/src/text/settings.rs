//! The table of model, data and settings.

use crate::document::{Column, spans};
use crate::lang::say;
use crate::page::{Page, number};

/// Adds the settings that a reader wants to know before the results; the run file at the end has all of them.
pub(crate) fn table(page: &mut Page<'_>) {
    let (lang, experiment) = (page.lang, &page.results.experiment);
    let setting = |key: &str| experiment.setting(key);
    let file = |key: &str| setting(key).map(|path| path.rsplit('/').next().unwrap_or_default().to_owned());
    let part = |key: &str, say: &dyn Fn(&str) -> String| setting(key).map(|value| say(&value));
    let joined = |parts: Vec<Option<String>>| {
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join(lang.pick(", ", "，")))
    };
    // What the run file says of training does not hold for an adapter that was there before.
    let given = file("lora_weights");
    let made = |key: &str, say: &dyn Fn(&str) -> String| part(key, say).filter(|_| given.is_none());
    let adapter = joined(vec![
        given.as_ref().map(|name| say!(lang, "given, not trained here: {name}", "给定，未在此训练：{name}")),
        made("lora_r", &|r| format!("r = {r}")),
        made("lora_alpha", &|alpha| format!("α = {alpha}")),
        made("lora_dropout", &|dropout| format!("dropout {dropout}")),
        made("lora_target_modules", &|layers| {
            let layers = layers.replace(['[', ']', '"'], "");
            say!(lang, "layers: {layers}", "目标层：{layers}")
        }),
    ]);
    let length = made("max_steps", &|steps| say!(lang, "{steps} steps", "{steps} 步"))
        .or_else(|| made("num_epochs", &|epochs| say!(lang, "epochs: {epochs}", "{epochs} 轮")));
    let training = joined(vec![
        length,
        made("batch_size", &|size| say!(lang, "batches of {size} records", "批大小 {size} 条")),
        made("learning_rate", &|rate| say!(lang, "learning rate {rate}", "学习率 {rate}")),
        made("lr_scheduler", &|name| say!(lang, "{name} schedule", "{name} 学习率调度")),
        made("cutoff_len", &|tokens| {
            say!(lang, "at most {tokens} tokens a record", "每条至多 {tokens} 个 token")
        }),
    ]);
    let measured = joined(vec![
        part("evaluation_records", &|count| say!(lang, "{count} records answered", "回答 {count} 条记录")),
        part("compare_records", &|count| {
            say!(lang, "logits of {count} records compared", "比较 {count} 条记录的 logit")
        }),
        part("validation_records", &|count| {
            say!(lang, "validation loss on {count} records", "在 {count} 条记录上计算验证损失")
        }),
    ]);
    let lines = [
        (lang.pick("base model", "基座模型"), file("base_model")),
        (lang.pick("data", "数据"), file("data_path")),
        (lang.pick("precision", "计算精度"), setting("dtype")),
        (lang.pick("precision of merged files", "合并文件的精度"), setting("merge_dtype")),
        (lang.pick("adapter", "适配器"), adapter),
        (lang.pick("training", "训练"), training),
        (lang.pick("measured on", "评测"), measured),
    ];
    let heads = [Column::text(lang.pick("setting", "设置"), 1), Column::text(lang.pick("value", "值"), 3)];
    page.pairs(heads, lines.into_iter().filter_map(|(name, value)| Some([spans(name), number(value?)])));
}
