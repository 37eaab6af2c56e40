//! The text of reports: templates in both languages over facts, and the tables and plots that they name.

mod common;
mod merge;
mod qlora;
mod quality;
mod samples;
mod settings;
#[cfg(test)]
mod tests;

use std::path::Path;

use anyhow::Result;
use results::Kind;

use crate::lang::{Lang, plain, say};
use crate::page::Page;
use crate::select::Results;

/// Writes the whole report.
pub(crate) fn compose<'a>(
    results: &'a Results,
    lang: Lang,
    chart_lang: Lang,
    source: Option<&'a Path>,
) -> Result<Page<'a>> {
    let mut page = Page::new(results, lang, chart_lang, source);
    head(&mut page);
    match results.experiment.experiment {
        Kind::MergeCompare => merge::write(&mut page)?,
        Kind::LoraVsQlora => qlora::write(&mut page)?,
    }
    Ok(page)
}

fn head(page: &mut Page<'_>) {
    let (lang, experiment) = (page.lang, &page.results.experiment);
    // A title in the run file is in one language; the template's is in both.
    page.doc.title = match experiment.experiment {
        _ if !experiment.title.is_empty() && lang == Lang::En => plain(&experiment.title),
        Kind::MergeCompare => {
            lang.pick("Merging a LoRA adapter: the ways compared", "不同权重合并方式的效果对比").to_owned()
        }
        Kind::LoraVsQlora => lang.pick("LoRA against QLoRA", "LoRA 微调与 QLoRA 微调的性能对比").to_owned(),
    };
    let mut parts = Vec::new();
    if !experiment.profile.is_empty() {
        let profile = plain(&experiment.profile);
        parts.push(say!(lang, "profile {profile}", "配置：{profile}"));
    }
    parts.extend(experiment.environment.date.clone());
    if let Some(commit) = lang.commit(experiment, 12) {
        parts.push(say!(lang, "commit {commit}", "提交：{commit}"));
    }
    page.doc.subtitle = parts.join(" · ");
}
