//! One task: the title and the chapters of an experiment.

use anyhow::Result;
use results::Kind;

use super::{merge, qlora};
use crate::lang::{Lang, plain};
use crate::page::Page;

/// Writes the chapters of the page's experiment.
pub(super) fn write_task(page: &mut Page<'_>) -> Result<()> {
    match page.results.experiment.experiment {
        Kind::MergeCompare => merge::write(page),
        Kind::LoraVsQlora => qlora::write(page),
    }
}

/// Returns the title of an experiment; that of a run file is in one language, the template's in both.
pub(super) fn title(page: &Page<'_>) -> String {
    let (lang, experiment) = (page.lang, &page.results.experiment);
    match experiment.experiment {
        _ if !experiment.title.is_empty() && lang == Lang::En => plain(&experiment.title),
        Kind::MergeCompare => {
            lang.pick("Merging a LoRA adapter: the ways compared", "不同权重合并方式的效果对比").to_owned()
        }
        Kind::LoraVsQlora => lang.pick("LoRA against QLoRA", "LoRA 版微调和 QLoRA 版微调性能对比").to_owned(),
    }
}
